"""New hardware keeps the model."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterRefused, PlanInvalid, ServerRefused
from inference_rollouts.core.serving.adapters import Served
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_servers import FakeServers
from tests.support.freezing import preflight, refused
from tests.support.plans import llm


def serving(*served: Served) -> FakeServers:
    return FakeServers(models_of_all=list(served))


MODEL = "meta-llama/Llama-3.1-8B-Instruct"

TODAY = Served("llama-3.1-8b", MODEL)

ADAPTER = Served("food", "/adapters/food", "llama-3.1-8b")


def test_a_node_rollout_keeps_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    preflight(FakeCluster(), kind="node", servers=serving(TODAY, ADAPTER))


@pytest.mark.parametrize(
    "served", [(), (Served("llama-3.1-8b", "other/model"),), (Served("other", MODEL), ADAPTER)]
)
def test_a_node_rollout_to_another_model_is_refused(
    monkeypatch: pytest.MonkeyPatch, served: tuple[Any, ...]
) -> None:
    work = llm()["workload"]
    work["args"] += ["--served-model-name", "llama-3.1-8b", "other"]  # so that every name is answered for
    words = "use kind base-model to change it"
    refused(PlanInvalid, words, kind="node", servers=serving(*served), workload=work)


def test_a_base_model_rollout_may_change_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    preflight(FakeCluster(), servers=serving())


def test_a_stable_pod_that_does_not_say_what_it_serves_is_refused() -> None:
    """It was restarted after it had told which adapters it has."""
    servers, asked = FakeServers(), itertools.count()

    def silent(verb: str) -> None:
        if next(asked) >= 3:
            raise ServerRefused(503, "refused")

    servers.heard = silent
    refused(ClusterRefused, "does not list what it answers for", kind="node", servers=servers)


def test_what_differs_from_todays_servers_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = FakeCluster()
    arguments = [f"--model={MODEL}", "--max-num-seqs=64", "--enforce-eager"]
    container = {"image": "vllm/vllm-openai:v0.31.0", "args": arguments}
    template = cluster.objects["Deployment", "llm-pool"]["spec"]["template"]
    template["spec"] = {"containers": [container]}
    preflight(cluster, kind="node", servers=serving(TODAY))
    assert "image vllm/vllm-openai:v0.32.0 in place of vllm/vllm-openai:v0.31.0" in caplog.text
    assert "without arguments --enforce-eager" in caplog.text
    assert "with arguments --served-model-name llama-3.1-8b" in caplog.text
    assert MODEL not in caplog.text
    assert "--max-num-seqs" not in caplog.text
    assert "--port" not in caplog.text
