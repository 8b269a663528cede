"""Each serving stack is promoted and rolled back by a plan that changes one image."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_rollouts.clients.include import load_plan
from inference_rollouts.core.objects.workload_kinds import is_workload, pod_templates
from inference_rollouts.dag import build_dag
from tests.support.airflow import POLL, Run, run_dag, use
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.real_pool import CANARY, STABLE, servers
from tests.support.stacks import STACKS, Change, stack

IMAGE = "vllm/vllm-openai:v0.32.0"
PLAN: dict[str, Any] = {
    "kind": "base-model",
    "stable": STABLE,
    "canary": CANARY,
    "workload": {"like": "stable", "image": IMAGE},
    "steps": [{"weight": 100, "bake": "300ms"}],
}
QUICK: dict[str, Any] = {
    "initial_delay": 0,
    "without_comparison": True,
    "analysis": {"interval": "250ms", "scrape_delay": 0, "progress_deadline": "10s", "margin": None},
}

RollOut = Callable[[FakeCluster, FakePrometheus], Run]


@pytest.fixture
def roll_out(
    include: Path, quick_runner: None, database: None, monkeypatch: pytest.MonkeyPatch
) -> RollOut:
    monkeypatch.setattr("inference_rollouts.operators.traffic.READINESS_POLL", POLL)
    path = include.with_name("chat.yaml")
    path.write_text(yaml.safe_dump(PLAN | QUICK))

    def run(cluster: FakeCluster, prometheus: FakePrometheus) -> Run:
        use(fake_clients(cluster, prometheus=prometheus, servers=servers()), monkeypatch)
        return run_dag(build_dag(load_plan(path)))

    return run


@pytest.mark.parametrize("change", STACKS, ids=lambda change: change.__name__)
def test_it_is_promoted_with_the_new_image_in_each_server(change: Change, roll_out: RollOut) -> None:
    cluster = stack(change)
    run = roll_out(cluster, FakePrometheus(cluster))
    assert run.state == "success", run.note
    assert cluster.weights() == {STABLE: 0, CANARY: 100}
    assert images(cluster, CANARY) == [IMAGE] * len(images(cluster, STABLE))
    assert len(cluster.endpoints_of(CANARY)) == len(cluster.endpoints_of(STABLE)) > 0


@pytest.mark.parametrize("change", STACKS, ids=lambda change: change.__name__)
def test_it_is_rolled_back_and_stable_is_as_it_was(change: Change, roll_out: RollOut) -> None:
    cluster = stack(change)
    before = copy.deepcopy(cluster.objects)
    run = roll_out(cluster, FakePrometheus(cluster, failing={CANARY: 0.2}))
    assert run.states["rollback"] == "success", run.note
    assert cluster.route["spec"] == before["HTTPRoute", "routes-to-llm"]["spec"]
    for key, obj in before.items():
        assert cluster.objects[key].get("spec") == obj.get("spec"), key


def images(cluster: FakeCluster, pool: str) -> list[str]:
    """Those of a pool's servers, of each sort of pod once."""
    pods = {name.rstrip("-0123456789") for name in cluster.endpoints_of(pool)}
    return [
        container["image"]
        for (_, name), obj in cluster.objects.items()
        if is_workload(obj) and name in pods
        for template in pod_templates(obj)
        for container in template["spec"]["containers"]
        if container["name"] == "vllm"
    ]
