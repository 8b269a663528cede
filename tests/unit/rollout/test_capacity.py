"""Whether both pools have room for a raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.rollout.checks import check_now
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import run_on
from tests.support.plans import CANARY

Raising = tuple[FakeCluster, FakePrometheus, Callable[[], Readiness]]


@pytest.fixture
def raising() -> Raising:
    """The check before step 2 (25 %), with the canary deployed."""
    cluster = FakeCluster()
    prometheus = FakePrometheus(cluster)
    run = run_on(cluster, prometheus=prometheus, capacity={"per_pod": 64})
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    return cluster, prometheus, lambda: check_now(run, "capacity:2")


@pytest.mark.parametrize(
    ("stable", "canary", "load", "phase", "words"),
    [
        (
            3,
            3,
            180.0,
            Phase.READY,
            "llm-pool has 3 ready pods for 100 % of 180 requests in flight: 60 each, 64",
        ),
        (
            3,
            1,
            180.0,
            Phase.READY,
            "version-2 has 1 ready pod for 25 % of 180 requests in flight: 45 each, 51",
        ),
        (3, 1, 240.0, Phase.WAITING, "llm-pool has 3 ready pods for 100 % of 240"),
        (9, 1, 240.0, Phase.WAITING, "version-2 has 1 ready pod for 25 % of 240"),
        (
            2,
            3,
            180.0,
            Phase.WAITING,
            "llm-pool has 2 ready pods for 100 % of 180 requests in flight: 90 each, 64",
        ),
        (2, 3, 120.0, Phase.READY, ""),
        (0, 3, 1.0, Phase.WAITING, "llm-pool has no ready pods"),
        (3, 0, 1.0, Phase.WAITING, "version-2 has no ready pods"),
        (2, 3, None, Phase.WAITING, "2 ready pods, 3 needed"),
        (3, 1, None, Phase.READY, ""),
    ],
)
def test_a_raise_needs_room_in_both_pools(
    raising: Raising, stable: int, canary: int, load: float | None, phase: Phase, words: str
) -> None:
    cluster, prometheus, room = raising
    cluster.scale("llm-pool", stable)
    cluster.scale(CANARY, canary)
    prometheus.load = load
    answer = room()
    assert answer.phase is phase
    assert words in answer.message


def test_a_pod_that_does_not_tell_makes_pods_count(raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, prometheus, room = raising
    prometheus.load, gauges = 1.0, prometheus._gauges
    monkeypatch.setattr(prometheus, "_gauges", lambda at: gauges(at)[1:])
    cluster.scale("llm-pool", 2)
    assert "the requests in flight are not known" in room().message


def test_gauges_that_do_not_say_which_they_are_make_pods_count(
    raising: Raising, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, prometheus, room = raising
    prometheus.load, gauges = 1.0, prometheus._gauges
    bare = [{**each, "metric": {"pod": each["metric"].get("pod", "")}} for each in gauges(1000.0)]
    assert bare
    monkeypatch.setattr(prometheus, "_gauges", lambda at: bare)
    assert "counted in pods" in room().message


class Clock:
    """The metrics store's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: FakePrometheus) -> None:
        self.now = 1000.0
        monkeypatch.setattr(store, "clock", lambda: self.now)


def test_who_goes_on_without_being_in_the_cluster_is_another_ones_and_counts_no_more(
    raising: Raising, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first nobody knows whether it has just gone: rather too much is counted than too little."""
    _, prometheus, room = raising
    prometheus.load, prometheus.also, clock = 120.0, "theirs-", Clock(monkeypatch, prometheus)
    for seconds, load in ((0, 240), (60, 240), (30, 120), (600, 120)):
        clock.now += seconds
        assert f"100 % of {load} requests" in room().message


def test_the_store_is_asked_for_the_load_of_now_by_its_own_clock(
    raising: Raising, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks may have one that is an hour behind."""
    _, prometheus, room = raising
    prometheus.load, clock, gauges = 120.0, Clock(monkeypatch, prometheus), prometheus._gauges
    monkeypatch.setattr(prometheus, "_gauges", lambda at: gauges(at) if abs(at - clock.now) < 60 else [])
    assert "100 % of 120 requests" in room().message


def test_what_pods_had_that_are_just_gone_counts_as_long_as_the_average_reaches_back(
    raising: Raising, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another cluster's are known long since."""
    cluster, prometheus, room = raising
    prometheus.load, prometheus.also, clock = 180.0, "theirs-", Clock(monkeypatch, prometheus)
    room()
    clock.now += 600
    assert room().phase is Phase.READY
    before = prometheus._gauges(clock.now)
    monkeypatch.setattr(prometheus, "_gauges", lambda at: before)
    cluster.scale("llm-pool", 2)
    for seconds in (0, 20, 20, 20):
        clock.now += seconds
        assert "llm-pool has 2 ready pods for 100 % of 180 requests" in room().message


def test_one_that_comes_back_is_ours(raising: Raising, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, prometheus, room = raising
    prometheus.load, clock = 120.0, Clock(monkeypatch, prometheus)
    before = prometheus._gauges(clock.now)
    monkeypatch.setattr(prometheus, "_gauges", lambda at: before)
    for pods, seconds, load in ((2, 0, 120), (3, 100, 120), (2, 0, 120)):
        cluster.scale("llm-pool", pods)
        clock.now += seconds
        assert f"100 % of {load} requests" in room().message


@pytest.mark.parametrize("load", [float("nan"), None])
def test_gauges_without_a_number_and_a_silent_prometheus_make_pods_count(
    raising: Raising, load: float | None
) -> None:
    _, prometheus, room = raising
    prometheus.load, prometheus.down = load, load is None
    assert room().phase is Phase.READY
    assert "counted in pods" in room().message


class Twins(FakePrometheus):
    """Pods of the names of ours, in another cluster, with ten times the load."""

    def _gauges(self, at: float) -> list[dict[str, Any]]:
        own, away = super()._gauges(at), ("cluster", "away")
        return [
            each | {"value": [at, str(10 * float(each["value"][1]))]}
            if away in each["metric"].items()
            else each
            for each in own
        ]


@pytest.mark.parametrize(
    ("home", "told"), [("here", "100 % of 120 requests"), ("", "counted in pods")], ids=["told", "untold"]
)
def test_what_another_cluster_s_pods_have_that_come_later_by_the_names_of_ours_does_not_count(
    home: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster()
    prometheus = Twins(cluster, home=home, load=120.0)
    run = run_on(cluster, prometheus=prometheus, capacity={"per_pod": 64})
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    if not home:  # two clusters' series that differ by a label which ours lack
        monkeypatch.setattr(prometheus, "_theirs", _away(prometheus._theirs))
    prometheus.namesakes = 5.0
    assert told in check_now(run, "capacity:2").message


def _away(theirs: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def labelled(sample: dict[str, Any]) -> dict[str, Any]:
        told = theirs(sample)
        return {**told, "metric": told["metric"] | {"cluster": "away"}}

    return labelled
