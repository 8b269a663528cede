"""The whole pipeline in Airflow's own runner, against a cluster in memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.claim import Ending
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus

pytestmark = pytest.mark.usefixtures("database")

BEFORE_END = [
    "preflight", "provision_nodes", "deploy_pool", "warm_up",
    "step_1.shift", "step_1.judge",
    "step_2.shift", "step_2.judge", "promote",
]  # fmt: skip


def test_a_healthy_canary_is_promoted_and_the_route_let_go(rollout: Rollout, cluster: FakeCluster) -> None:
    run = rollout()
    assert run.state == "success"
    assert run.ran(*BEFORE_END, "report")
    assert run.states["rollback"] == "skipped"
    assert run.announced == [("promoted", "llm-pool")]
    assert "llm-pool-version-2: promoted" in run.note
    assert cluster.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}
    assert cluster.notes() == {}
    assert cluster.ending() is Ending.PROMOTED
    assert cluster.events == ["CanaryAttached", "WeightShifted", "WeightShifted", "Promoted"]


def test_a_failing_canary_is_rolled_back_and_the_route_is_as_found(
    rollout: Rollout, cluster: FakeCluster, prometheus: FakePrometheus
) -> None:
    prometheus.failing["llm-pool-version-2"] = 0.05
    before = copy.deepcopy(cluster.route)
    run = rollout()
    assert run.state == "failed"
    assert run.ran("rollback")
    assert run.states["step_1.judge"] == "failed", "the step that alarmed is not green"
    assert run.states["step_2.shift"] == run.states["promote"] == "skipped"
    assert run.states["report"] == "failed"
    assert run.announced == [("rolled-back", "llm-pool-version-2")]
    assert "llm-pool-version-2: rolled back** by the judge of step 1. The canary is worse" in run.note
    assert "Now the route is exactly as it was found." in run.note.splitlines()[0]
    assert cluster.route["spec"] == before["spec"]
    assert cluster.notes() == {}
    assert cluster.ending() is Ending.RESTORED
    assert cluster.events[-2:] == ["CanaryAlarm", "RolledBack"]


def test_a_run_with_fewer_weights_skips_the_other_steps(rollout: Rollout, cluster: FakeCluster) -> None:
    run = rollout(weights=[100], bake="300ms")
    assert run.state == "success"
    assert run.ran("step_1.judge", "promote")
    assert run.states["step_2.shift"] == "skipped"
    assert cluster.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}


@pytest.mark.parametrize("task", BEFORE_END)
def test_whatever_task_raises_the_route_ends_as_it_was_found(
    rollout: Rollout, cluster: FakeCluster, task: str
) -> None:
    before = copy.deepcopy(cluster.route)
    run = rollout(raising=task)
    assert run.states[task] == "failed"
    assert run.state == "failed"
    assert cluster.route["spec"] == before["spec"]
    assert cluster.notes() == {}


def test_a_report_that_raises_changes_nothing_of_the_promotion(
    rollout: Rollout, cluster: FakeCluster
) -> None:
    run = rollout(raising="report")
    assert run.state == "failed"
    assert cluster.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}


def test_prometheus_that_dies_is_waited_for_and_never_passes(
    rollout: Rollout, cluster: FakeCluster, prometheus: FakePrometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.deepcopy(cluster.route)
    shift = cluster.patch

    def dies_after_the_first_shift(*args: Any) -> K8sObject:
        answer = shift(*args)
        prometheus.down = cluster.weights().get("llm-pool-version-2", 0) > 0
        return answer

    monkeypatch.setattr(cluster, "patch", dies_after_the_first_shift)
    run = rollout()
    assert run.ran("rollback")
    assert run.states["step_1.judge"] == "failed"
    assert run.states["promote"] == "skipped"
    assert cluster.route["spec"] == before["spec"]


def test_going_back_waits_while_only_the_canary_serves(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the canary is the only healthy pool it has everything; once stable is back, it has nothing."""
    before, shift, held = copy.deepcopy(cluster.route), cluster.patch, list[dict[str, int]]()

    def stable_dies_and_comes_back_once_it_was_waited_for(*args: Any) -> K8sObject:
        answer = shift(*args)
        if cluster.weights()["llm-pool-version-2"] == 50:
            for number in range(3):
                cluster.objects.pop(("Pod", f"llm-pool-{number}"), None)
        if cluster.weights()["llm-pool-version-2"] == 100:
            held.append(cluster.weights())
            cluster.scale("llm-pool", 3)
        return answer

    monkeypatch.setattr(cluster, "patch", stable_dies_and_comes_back_once_it_was_waited_for)
    run = rollout()
    assert held == [{"llm-pool": 0, "llm-pool-version-2": 100}]
    assert run.state == "failed"
    assert run.states["step_2.shift"] == "skipped"
    assert run.ran("rollback")
    assert run.states["report"] == "failed"
    assert cluster.events[-2:] == ["WayBackHeld", "RolledBack"]
    assert cluster.route["spec"] == before["spec"]
    assert cluster.notes() == {}
