"""What goes wrong in real clusters before any weight moves: seen, named, and the route stays as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.airflow import Rollout, Run
from tests.support.fake_cluster import FakeCluster
from tests.support.include import edit
from tests.support.plans import CANARY


@pytest.fixture
def impatient(include: Path) -> None:
    """Deadlines that pass while a test waits."""
    edit(include, deadlines={"nodes": "500ms", "ready": "500ms", "warm_up": "500ms", "route": "500ms"})


def broken(
    monkeypatch: pytest.MonkeyPatch,
    cluster: FakeCluster,
    kind: str,
    breaking: Callable[[dict[str, Any]], None],
    times: int = 10**9,
) -> None:
    """Reads of the canary's object of a kind show it as `breaking` changes it, so many times."""
    get, left = cluster.get, [times]

    def reading(api_version: str, which: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        obj = get(api_version, which, name, namespace)
        if (which, name) == (kind, CANARY) and left[0] > 0:
            left[0] -= 1
            breaking(obj)
        return obj

    monkeypatch.setattr(cluster, "get", reading)


def loading(deployment: dict[str, Any]) -> None:
    deployment["status"]["availableReplicas"] = 0


def unresolved(pool: Any) -> None:
    pool["status"]["parents"][0]["conditions"][1] |= {
        "status": "False", "reason": "InvalidExtensionRef", "message": "no Service llm-pool-version-2-epp"
    }  # fmt: skip


def stuck_before_the_first_weight(run: Run, cluster: FakeCluster, before: Any, task: str) -> None:
    assert run.state == "failed"
    assert run.states[task] == "failed"
    assert run.states["step_1.shift"] in ("upstream_failed", "skipped")
    assert cluster.route["spec"] == before["spec"]
    assert cluster.notes() == {}
    assert "WeightShifted" not in cluster.events


def test_servers_that_load_ten_times_as_long_are_waited_for(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, cluster, "Deployment", loading, times=3)
    assert rollout().state == "success"


def test_servers_that_are_not_there_in_time_get_no_traffic(
    rollout: Rollout, cluster: FakeCluster, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.deepcopy(cluster.route)
    broken(monkeypatch, cluster, "Deployment", loading)
    run = rollout()
    stuck_before_the_first_weight(run, cluster, before, "deploy_pool")
    assert "not started" in run.note
    assert "Not ready before the deadline: 0 of 3 pods" in run.note


def test_a_crash_loop_ends_the_waiting_at_once(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, put = copy.deepcopy(cluster.route), cluster.put

    def crashing(api_version: str, kind: str, obj: dict[str, Any]) -> None:
        if kind == "Pod" and obj["metadata"]["name"].startswith(f"{CANARY}-0"):
            waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
            obj["status"]["containerStatuses"] = [{"restartCount": 3, "state": waiting}]
        put(api_version, kind, obj)

    monkeypatch.setattr(cluster, "put", crashing)
    run = rollout()
    stuck_before_the_first_weight(run, cluster, before, "deploy_pool")


def test_a_pool_that_the_gateway_cannot_resolve_gets_no_traffic(
    rollout: Rollout, cluster: FakeCluster, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.deepcopy(cluster.route)
    broken(monkeypatch, cluster, "InferencePool", unresolved)
    run = rollout()
    stuck_before_the_first_weight(run, cluster, before, "deploy_pool")
    assert run.states["rollback"] == "success", "the pool was attached already, at weight 0"
    assert "no Service llm-pool-version-2-epp" in run.note


def test_a_pool_that_lost_its_pods_after_warm_up_gets_no_traffic(
    rollout: Rollout, cluster: FakeCluster, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, attach = copy.deepcopy(cluster.route), cluster.patch

    def emptied(*args: Any) -> K8sObject:
        for number in range(3):
            cluster.objects.pop(("Pod", f"{CANARY}-{number}"), None)
        return attach(*args)

    monkeypatch.setattr(cluster, "patch", emptied)
    run = rollout()
    assert run.states["step_1.shift"] != "success"
    assert cluster.route["spec"] == before["spec"]
