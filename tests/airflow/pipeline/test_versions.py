"""Versions through Airflow: which is rolled out, what is remembered, and what a clear does not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients import Clients
from inference_rollouts.core.routing.claim import read_ending
from inference_rollouts.core.versions.memory import Memory
from inference_rollouts.core.versions.version import canary_name
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.include import edit
from tests.support.versions import URL, version, versioned

MEMORY = ("ConfigMap", "inference-rollouts.llm")
V1, V2, V3 = (version(f"v0.3{n}.0") for n in (1, 2, 3))


@pytest.fixture
def source(include: Path, clients: Clients) -> Any:
    """Sets what the source has."""
    edit(include, **versioned())

    def has(*names: str, **more: Any) -> None:
        found = [version(name, 1000.0 * n).to_json() for n, name in enumerate(names)]
        clients.storage.files[URL] = json.dumps({"versions": found})  # type: ignore[attr-defined]

    return has


def remembered(cluster: FakeCluster) -> list[tuple[str, str]]:
    memory = Memory.model_validate_json(cluster.objects[MEMORY]["data"]["memory"])
    return [(fate.version.name, fate.became.value) for fate in memory.fates]


def test_the_newest_version_is_rolled_out_pinned_and_remembered(
    rollout: Rollout, source: Any, cluster: FakeCluster
) -> None:
    source("v0.31.0", "v0.32.0")
    run = rollout()
    assert run.ran("promote"), run.note
    canary = canary_name("llm-{version}", V2)
    assert cluster.weights() == {"llm-pool": 0, canary: 100}
    [container] = cluster.objects["Deployment", canary]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"vllm/vllm-openai:v0.32.0@{V2.digest}"
    assert remembered(cluster) == [("v0.32.0", "promoted")]


def test_with_nothing_new_a_run_is_green_and_says_so(
    rollout: Rollout, source: Any, cluster: FakeCluster
) -> None:
    source("v0.31.0", "v0.32.0")
    assert rollout().ran("promote")
    writes = len(cluster.writes)
    again = rollout()
    assert again.state == "success"
    assert again.states["deploy_pool"] == "skipped"
    assert "nothing new" in again.note
    assert "was promoted already" in again.note
    assert len(cluster.writes) == writes


def test_a_version_that_was_rolled_back_is_passed_over_until_a_newer_one_comes(
    rollout: Rollout, source: Any, cluster: FakeCluster, prometheus: FakePrometheus
) -> None:
    source("v0.32.0")
    prometheus.failing[canary_name("llm-{version}", V2)] = 0.2
    assert rollout().states["rollback"] == "success"
    assert remembered(cluster) == [("v0.32.0", "rolled back")]
    again = rollout()
    assert again.state == "success"
    assert "was rolled back by rollout_llm" in again.note
    source("v0.32.0", "v0.33.0")
    assert rollout().ran("promote")
    assert canary_name("llm-{version}", V3) in cluster.weights()


def test_a_version_that_waits_in_the_ending_alone_counts_too(
    rollout: Rollout, source: Any, cluster: FakeCluster, prometheus: FakePrometheus
) -> None:
    """Whoever ended the rollout could not write the memory."""
    source("v0.32.0")
    cluster.served.discard(("v1", "ConfigMap"))
    prometheus.failing[canary_name("llm-{version}", V2)] = 0.2
    assert rollout().states["rollback"] == "success"
    assert MEMORY not in cluster.objects
    cluster.served.add(("v1", "ConfigMap"))
    last = read_ending(cluster.route)
    assert last
    assert last.version == str(V2)
    assert "was rolled back" in rollout().note


def test_a_person_names_a_version(rollout: Rollout, source: Any, cluster: FakeCluster) -> None:
    source("v0.31.0", "v0.32.0")
    assert rollout(version="v0.31.0").ran("promote")
    assert canary_name("llm-{version}", V1) in cluster.weights()


def test_one_that_nobody_knows_is_refused(rollout: Rollout, source: Any, cluster: FakeCluster) -> None:
    source("v0.31.0")
    run = rollout(version="v9")
    assert run.states["preflight"] == "failed"
    assert "has no version 'v9'" in run.note
    assert not cluster.writes
