"""Whether the pools have room: before a rollout, before each raise, and while a step bakes."""

from __future__ import annotations

import copy
import time

import pytest
import yaml

from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.rollout import checks
from inference_rollouts.triggers.ready import look

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from .test_preflight import plan, preflight, refused

CANARY = "llm-pool-version-2"


def work(**changes):
    return plan()["workload"] | changes


def loaded(cluster, load):
    return FakePrometheus(cluster, load=load)


@pytest.mark.parametrize(
    ("load", "changes", "said"),
    [
        (
            None,
            {"workload": work(replicas=2)},
            "have 2 replicas, 3 needed for 100 % of the requests (counted in",
        ),
        (180.0, {"capacity": {"stable_per_pod": 64}}, "Set workload.replicas to 4"),
        (120.0, {"workload": work(replicas=1)}, "120 each, 51 allowed. Set workload.replicas to 3"),
        (120.0, {"workload": work(args=[]), "capacity": {"per_pod": 45}}, "40 each, 36 allowed"),
        (None, {"capacity": {"per_pod": 32, "stable_per_pod": 64}}, "Set workload.replicas to 6"),
    ],
)
def test_a_canary_that_is_too_small_is_refused(load, changes, said):
    cluster = FakeCluster()
    refused(ClusterRefused, said, cluster, prometheus=loaded(cluster, load), **changes)


def test_a_stable_pool_that_could_not_take_all_requests_is_refused():
    cluster = FakeCluster()
    said = "3 ready pods for 100 % of 90 requests in flight: 30 each, 20 allowed. Give it 5 pods"
    capacity = {"per_pod": 50, "stable_per_pod": 20}
    refused(ClusterRefused, said, cluster, prometheus=loaded(cluster, 90.0), capacity=capacity)


@pytest.mark.parametrize(
    ("load", "changes"),
    [
        (60.0, {"workload": work(replicas=2)}),
        (None, {"workload": work(replicas=2), "capacity": {"per_pod": 96, "stable_per_pod": 64}}),
    ],
)
def test_fewer_pods_are_enough_where_they_carry_more_or_little_is_asked(load, changes):
    cluster = FakeCluster()
    assert preflight(cluster, prometheus=loaded(cluster, load), **changes).stable_pods == 3


@pytest.fixture
def raising(monkeypatch):
    """The check before step 2 (25 %), with the canary deployed."""
    cluster = FakeCluster()
    prometheus = FakePrometheus(cluster)
    monkeypatch.setattr(checks, "PrometheusHook", lambda *_: prometheus)
    frozen = preflight(cluster, capacity={"per_pod": 64})
    for manifest in frozen.manifests:
        cluster.apply(manifest)
    return cluster, prometheus, lambda: look(cluster, frozen, "capacity:2")


@pytest.mark.parametrize(
    ("stable", "canary", "load", "phase", "said"),
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
def test_a_raise_needs_room_in_both_pools(raising, stable, canary, load, phase, said):
    cluster, prometheus, seen = raising
    cluster.scale("llm-pool", stable)
    cluster.scale(CANARY, canary)
    prometheus.load = load
    answer = seen()
    assert answer.phase is phase
    assert said in answer.message


def test_a_pod_that_does_not_tell_makes_pods_count(raising, monkeypatch):
    cluster, prometheus, seen = raising
    prometheus.load, gauges = 1.0, prometheus._gauges
    monkeypatch.setattr(prometheus, "_gauges", lambda at: gauges(at)[1:])
    cluster.scale("llm-pool", 2)
    assert "the requests in flight are not known" in seen().message


@pytest.mark.parametrize("load", [float("nan"), None])
def test_gauges_without_a_number_and_a_silent_prometheus_make_pods_count(raising, load):
    _, prometheus, seen = raising
    prometheus.load, prometheus.down = load, load is None
    assert seen().phase is Phase.READY
    assert "counted in pods" in seen().message


def after_the_first_shift(monkeypatch, cluster, act):
    """Runs once, when the canary has its first traffic."""
    patch, done = cluster.patch, []

    def patching(*args):
        answer = patch(*args)
        if cluster.weights().get(CANARY, 0) > 0 and not done:
            done.append(time.monotonic())
            act()
        return answer

    monkeypatch.setattr(cluster, "patch", patching)
    return done


@pytest.mark.usefixtures("database")
class TestPipeline:
    """Through Airflow: the fixtures' plan has the steps 50 % and 100 %, and 4 s for a raise."""

    def test_a_canary_that_is_too_small_is_never_created(self, rollout, cluster, include):
        changed = yaml.safe_load(include.read_text())
        changed["workload"]["replicas"] = 1
        include.write_text(yaml.safe_dump(changed))
        run = rollout()
        assert run.states["preflight"] == "failed"
        assert run.state == "failed"
        assert not cluster.writes

    @pytest.mark.parametrize("left", [1, 0])
    def test_a_stable_pool_scaled_down_midway_stops_the_next_raise(self, rollout, cluster, monkeypatch, left):
        after_the_first_shift(monkeypatch, cluster, lambda: cluster.scale("llm-pool", left))
        before = copy.deepcopy(cluster.route["spec"])
        run = rollout()
        assert run.state == "failed"
        assert run.states["step_2.shift"] == "skipped"
        if left:
            assert run.states["rollback"] == "success"
            assert cluster.route["spec"] == before
            assert "The next raise has to wait: llm-pool has 1 ready pod, 3 needed" in run.note
        else:
            assert run.states["rollback"] == "failed", "it waits for stable"
            assert cluster.weights() == {"llm-pool": 50, CANARY: 50}

    def test_a_stable_pool_that_comes_back_in_time_stops_nothing(
        self, rollout, cluster, prometheus, monkeypatch
    ):
        done = after_the_first_shift(monkeypatch, cluster, lambda: cluster.scale("llm-pool", 1))
        query, back = prometheus.query, []

        def later(*args):
            if done and not back and time.monotonic() > done[0] + 2.5:
                back.append(cluster.scale("llm-pool", 3))
            return query(*args)

        monkeypatch.setattr(prometheus, "query", later)
        assert rollout().state == "success"
        assert back

    def test_an_idle_stable_pool_that_shrinks_at_the_end_stops_nothing(self, rollout, cluster, monkeypatch):
        patch = cluster.patch

        def idle(*args):
            answer = patch(*args)
            if cluster.weights().get(CANARY) == 100:
                cluster.scale("llm-pool", 1)
            return answer

        monkeypatch.setattr(cluster, "patch", idle)
        assert rollout().state == "success"

    def test_a_raise_without_room_waits_deferred_and_fails_with_the_figures(
        self, rollout, cluster, prometheus, monkeypatch
    ):
        """The judge passes the step; then the load doubles."""
        from inference_rollouts.hooks import looking
        from inference_rollouts.rollout.capacity import RoomAhead

        monkeypatch.setattr(looking, "room_ahead", lambda *_: RoomAhead())
        after_the_first_shift(monkeypatch, cluster, lambda: setattr(prometheus, "load", 300.0))
        before = copy.deepcopy(cluster.route["spec"])
        run = rollout()
        assert run.states["step_1.gate"] == "success"
        assert run.states["step_2.shift"] == "failed"
        assert run.states["rollback"] == "success"
        assert cluster.route["spec"] == before
        assert "300 requests in flight: 100 each, 51 allowed" in run.note
