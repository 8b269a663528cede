"""What clients can ask for today, the new pods will answer for: known before anything is created."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterRefused, PlanInvalid, ServerRefused
from inference_rollouts.core.serving.adapters import Adapter, Served
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_servers import FakeServers
from tests.support.fake_storage import FakeStorage
from tests.support.freezing import preflight, refused
from tests.support.lab_servers import BASE, SQL, LabServers, adapters, one_replica
from tests.support.plans import STABLE
from tests.support.routes import rewrite


@pytest.fixture
def servers() -> Iterator[LabServers]:
    with LabServers() as started:
        yield started


def test_what_any_stable_pod_answers_for_is_taken_over(servers: LabServers) -> None:
    servers.start(STABLE)
    servers.start(STABLE, *SQL)
    frozen = preflight(servers.cluster(), servers=servers)
    assert frozen.plan.as_pool_plan.workload.adapters == (Adapter(name="sql", path="/adapters/sql"),)
    container = frozen.manifests[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-3:] == ["--enable-lora", "--lora-modules", "sql=/adapters/sql"]
    assert container["env"] == []


def test_adapters_loaded_at_run_time_are_allowed_by_the_environment(servers: LabServers) -> None:
    servers.start(STABLE, *SQL)
    work = one_replica(adapters=adapters(), lora={"load": "api"})
    frozen = preflight(servers.cluster(), servers=servers, workload=work)
    container = frozen.manifests[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-1] == "--enable-lora"
    assert container["env"] == [{"name": "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "value": "true"}]


def test_a_missing_adapter_is_named(servers: LabServers) -> None:
    servers.start(STABLE)
    servers.start(STABLE, *SQL)
    words = "Clients can name sql (pod llm-pool-1) today, but llm-pool-version-2 would not answer for it"
    work = one_replica(adapters=adapters("code", "/adapters/code"))
    refused(PlanInvalid, words, servers.cluster(), servers=servers, workload=work)


def test_a_missing_name_of_the_model_is_named(servers: LabServers) -> None:
    servers.start(STABLE, names=("llama-3.1-8b", "llama"))
    refused(PlanInvalid, "llama (pod llm-pool-0)", servers.cluster(), servers=servers)


def test_a_target_of_a_rewrite_that_no_pod_lists_is_named(servers: LabServers) -> None:
    """A lazily resolved adapter is listed only after its first request."""
    servers.start(STABLE)
    cluster = servers.cluster()
    cluster.served.add(("llm-d.ai/v1alpha2", "InferenceModelRewrite"))
    cluster.put("llm-d.ai/v1alpha2", "InferenceModelRewrite", rewrite("food-review", "food-review-1"))
    words = "food-review-1 (InferenceModelRewrite food-review)"
    refused(PlanInvalid, words, cluster, servers=servers)
    work = one_replica(adapters=adapters("food-review-1", "/adapters/food-review-1"))
    frozen = preflight(cluster, servers=servers, workload=work)
    assert [m["kind"] for m in frozen.manifests].count("InferenceModelRewrite") == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"r": 8}, None),
        ({"r": 64}, "Adapter sql has rank 64, the servers take up to 16"),
        ({"base_model_name_or_path": "mistralai/Mistral-7B"}, "was trained for mistralai/Mistral-7B"),
        ({"target_modules": ["router"]}, "changes the modules router"),
    ],
)
def test_a_config_is_checked_before_anything_is_created(
    servers: LabServers, config: dict[str, Any], words: str | None
) -> None:
    servers.start(STABLE, *SQL)
    fits = {"r": 8, "base_model_name_or_path": BASE, "target_modules": ["q_proj", "v_proj"]}
    storage = FakeStorage({"s3://configs/sql.json": json.dumps(fits | config)})
    work = one_replica(adapters=adapters(config="s3://configs/sql.json"))
    if words is None:
        preflight(servers.cluster(), servers=servers, files=storage, workload=work)
    else:
        refused(PlanInvalid, words, servers.cluster(), servers=servers, files=storage, workload=work)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_config_that_cannot_be_read_is_named(servers: LabServers, text: str | None) -> None:
    servers.start(STABLE, *SQL)
    url = "s3://configs/sql.json"
    storage = FakeStorage({} if text is None else {url: text})
    work = one_replica(adapters=adapters(config=url))
    refused(PlanInvalid, url, servers.cluster(), servers=servers, files=storage, workload=work)


def test_a_pod_that_lists_nothing_is_named() -> None:
    class Closed(FakeServers):
        def models(self, base_url: str) -> list[Served]:
            raise ServerRefused(401, "Unauthorized")

    words = "Pod llm-pool-0 does not list what it answers for: /v1/models is 401: Unauthorized"
    refused(ClusterRefused, words, FakeCluster(), servers=Closed())
