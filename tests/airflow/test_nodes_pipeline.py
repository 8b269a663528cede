"""Nodes in the whole pipeline: brought with the pods, or not to be had; new hardware keeps the model."""

from __future__ import annotations

import pytest
import yaml

from inference_rollouts.core.errors import ClusterRefused, PlanInvalid
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.preflight import hardware

from tests.support.fake_cluster import FakeCluster
from .test_preflight import preflight, refused

POOL = "llm-pool-version-2"
NODES = {"provisioner": "compute-class", "machines": [{"accelerator": "nvidia-l4", "count": 8}]}
STOCKOUT = "Node scale up in zones us-central1-a associated with this pod failed: GCE_STOCKOUT."
COMPUTE_CLASS = ("cloud.google.com/v1", "ComputeClass")


@pytest.fixture
def classes(include, cluster):
    """The plan's nodes come with its pods, and soon or not at all."""
    plan = yaml.safe_load(include.read_text()) | {"nodes": NODES}
    plan["deadlines"] = {"nodes": "1s"}
    include.write_text(yaml.safe_dump(plan))
    cluster.served.add(COMPUTE_CLASS)
    return cluster


@pytest.mark.usefixtures("database")
def test_nodes_that_come_with_the_pods_are_waited_for(rollout, classes):
    run = rollout()
    assert run.state == "success"
    assert classes.objects["ComputeClass", POOL]["spec"]["nodePoolAutoCreation"] == {"enabled": True}


@pytest.mark.usefixtures("database")
def test_without_stock_the_rollout_ends_with_the_clusters_words_and_nothing_comes_later(
    rollout, classes, monkeypatch
):
    put = classes.put

    def without_node(api_version, kind, thing):
        if kind == "Pod" and thing["metadata"]["name"].startswith(POOL):
            thing["spec"].pop("nodeName", None)
        put(api_version, kind, thing)

    monkeypatch.setattr(classes, "put", without_node)
    event = {"reason": "FailedScaleUp", "message": STOCKOUT}
    monkeypatch.setattr(classes, "events_about", lambda thing: [event], raising=False)
    run = rollout()
    assert run.state == "failed"
    assert run.states["deploy_pool"] == "failed"
    assert "failed: GCE_STOCKOUT. No traffic was moved" in run.note
    assert ("ComputeClass", POOL) not in classes.objects
    assert classes.weights() == {"llm-pool": 1}


def serve(monkeypatch, *served):
    monkeypatch.setattr(hardware, "models", lambda url: list(served))


MODEL = "meta-llama/Llama-3.1-8B-Instruct"
TODAY = Served("llama-3.1-8b", MODEL)
ADAPTER = Served("food", "/adapters/food", "llama-3.1-8b")


def test_a_node_rollout_keeps_the_model(monkeypatch):
    serve(monkeypatch, TODAY, ADAPTER)
    preflight(FakeCluster(), kind="node")


@pytest.mark.parametrize(
    "served", [(), (Served("llama-3.1-8b", "other/model"),), (Served("other", MODEL), ADAPTER)]
)
def test_a_node_rollout_to_another_model_is_refused(monkeypatch, served):
    serve(monkeypatch, *served)
    refused(PlanInvalid, "use kind base-model to change it", kind="node")


def test_a_base_model_rollout_may_change_the_model(monkeypatch):
    serve(monkeypatch)
    preflight(FakeCluster())


def test_a_stable_pod_that_does_not_say_what_it_serves_is_refused(monkeypatch):
    def unreachable(url):
        raise hardware.requests.ConnectionError("refused")

    monkeypatch.setattr(hardware, "models", unreachable)
    refused(ClusterRefused, "does not say what it serves", kind="node")


def test_what_differs_from_todays_servers_is_told(monkeypatch, caplog):
    serve(monkeypatch, TODAY)
    cluster = FakeCluster()
    container = {"image": "vllm/vllm-openai:v0.10.2", "args": ["--max-num-seqs=64", "--enforce-eager"]}
    template = cluster.objects["Deployment", "llm-pool"]["spec"]["template"]
    template["spec"] = {"containers": [container]}
    preflight(cluster, kind="node")
    assert "image vllm/vllm-openai:v0.11.0 in place of vllm/vllm-openai:v0.10.2" in caplog.text
    assert "without arguments --enforce-eager" in caplog.text
    assert "with arguments --model=meta-llama" in caplog.text
    assert "--max-num-seqs" not in caplog.text
    assert "--port" not in caplog.text
