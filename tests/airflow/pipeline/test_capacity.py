"""A rollout whose pools have too little room, through Airflow: 50 % and 100 %, and 4 s for a raise."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.include import edit
from tests.support.plans import CANARY


def after_the_first_shift(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, act: Callable[[], object]
) -> None:
    """Runs once, when the canary has its first traffic."""
    patch, done = cluster.patch, count()

    def patching(*args: Any) -> K8sObject:
        answer = patch(*args)
        if cluster.weights().get(CANARY, 0) > 0 and next(done) == 0:
            act()
        return answer

    monkeypatch.setattr(cluster, "patch", patching)


def until_it_is_held(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, act: Callable[[], object]
) -> list[dict[str, int]]:
    """The weights with which the way back waits for stable; it waits until `act` runs."""
    tell, held = cluster.event, list[dict[str, int]]()

    def telling(about: K8sObject, reason: str, message: str, *, warning: bool = False) -> None:
        tell(about, reason, message, warning=warning)
        if reason == "WayBackHeld":
            held.append(cluster.weights())
            act()

    monkeypatch.setattr(cluster, "event", telling)
    return held


def test_a_canary_that_is_too_small_is_never_created(
    rollout: Rollout, cluster: FakeCluster, include: Path
) -> None:
    edit(include, workload={"replicas": 1})
    run = rollout()
    assert run.states["preflight"] == "failed"
    assert run.state == "failed"
    assert not cluster.writes


@pytest.mark.parametrize(("left", "kept"), [(1, []), (0, [{"llm-pool": 0, CANARY: 100}])])
def test_a_stable_pool_scaled_down_midway_stops_the_next_raise(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, left: int, kept: list[Any]
) -> None:
    """While stable has no pod at all, the way back gives the canary everything and waits.

    Nobody knows here how much a pod of it can take, and nobody has patience.
    """
    monkeypatch.setattr("inference_rollouts.operators.traffic.RETURN_PATIENCE", 0.0)
    after_the_first_shift(monkeypatch, cluster, lambda: cluster.scale("llm-pool", left))
    held = until_it_is_held(monkeypatch, cluster, lambda: cluster.scale("llm-pool", 3))
    before = copy.deepcopy(cluster.route["spec"])
    run = rollout()
    assert run.state == "failed"
    assert run.states["step_2.shift"] == "skipped"
    assert run.states["rollback"] == "success"
    assert held == kept
    assert cluster.route["spec"] == before
    if left:
        assert "The next raise has to wait: llm-pool has 1 ready pod, 3 needed" in run.note


def test_a_stable_pool_that_comes_back_in_time_stops_nothing(
    rollout: Rollout,
    cluster: FakeCluster,
    prometheus: FakePrometheus,
    include: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is looked at once an observation while it is too small, and comes back some time after the bake."""
    edit(include, analysis={"progress_deadline": "1m"})
    asked, query = count(), prometheus.query

    def coming_back(promql: str, at: float) -> list[dict[str, Any]]:
        if "avg_over_time" in promql and next(asked) == 4:
            cluster.scale("llm-pool", 3)
        return query(promql, at)

    def shrink() -> None:
        cluster.scale("llm-pool", 1)
        monkeypatch.setattr(prometheus, "query", coming_back)

    after_the_first_shift(monkeypatch, cluster, shrink)
    assert rollout().state == "success"
    assert next(asked) > 4


def test_an_idle_stable_pool_that_shrinks_at_the_end_stops_nothing(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = cluster.patch

    def idle(*args: Any) -> K8sObject:
        answer = patch(*args)
        if cluster.weights().get(CANARY) == 100:
            cluster.scale("llm-pool", 1)
        return answer

    monkeypatch.setattr(cluster, "patch", idle)
    assert rollout().state == "success"


def test_a_raise_without_room_waits_deferred_and_fails_with_the_figures(
    rollout: Rollout, cluster: FakeCluster, prometheus: FakePrometheus, include: Path
) -> None:
    """The judge passes the step; then the load doubles."""
    edit(include, deadlines={"route": "1s"})
    before = copy.deepcopy(cluster.route["spec"])
    run = rollout(before={"step_2.shift": lambda: setattr(prometheus, "load", 300.0)})
    assert run.states["step_1.judge"] == "success"
    assert run.states["step_2.shift"] == "failed"
    assert run.states["rollback"] == "success"
    assert cluster.route["spec"] == before
    assert "300 requests in flight: 100 each, 51 allowed" in run.note


def test_a_canary_that_fails_while_its_raise_waits_for_room_is_rolled_back_at_once(
    rollout: Rollout,
    cluster: FakeCluster,
    prometheus: FakePrometheus,
    include: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The raise would wait for a minute."""
    monkeypatch.setattr("inference_rollouts.operators.traffic.RETURN_PATIENCE", 0.0)
    edit(include, deadlines={"route": "1m"})
    before = copy.deepcopy(cluster.route["spec"])

    def harm() -> None:
        cluster.scale("llm-pool", 1)
        prometheus.failing[CANARY] = 1.0

    run = rollout(before={"step_2.shift": harm})
    assert run.ran("rollback")
    assert run.states["step_2.shift"] == "failed"
    # Which alarm comes first, of those that are right, depends on how many windows are between two looks.
    [told] = re.findall("The weights were not raised: (.*)", run.note)
    assert "HTTP 5xx" in told
    assert "requests in flight" not in told
    assert cluster.route["spec"] == before
    assert "CanaryAlarm" in cluster.events
