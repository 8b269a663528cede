"""The verbs that move a route, against races, crashes and other people."""

from __future__ import annotations

import copy

import pytest

from inference_rollouts.core.errors import HoldLost, RolloutError, RouteDrift
from inference_rollouts.hooks.cluster import PatchRefused
from inference_rollouts.hooks.traffic import ATTEMPTS, Restored, Traffic
from tests.unit.routes import ref, service

from .fake_cluster import FakeCluster
from .test_preflight import RUN, plan


def traffic_on(cluster, run=RUN):
    from inference_rollouts.core.plan import parse_plan

    return Traffic(cluster, parse_plan(plan()), run)


@pytest.fixture
def cluster():
    return FakeCluster()


@pytest.fixture
def traffic(cluster):
    return traffic_on(cluster)


def test_every_verb_may_be_repeated(cluster, traffic):
    before = copy.deepcopy(cluster.route["spec"])
    for _ in range(2):
        traffic.attach()
    since = {traffic.shift(5, 1, now=now).since for now in (100.0, 200.0)}
    assert since == {100.0}, "a repeated shift keeps the time of the first"
    for _ in range(2):
        traffic.retreat("slow")
    assert [traffic.restore("slow"), traffic.restore("slow")] == [Restored.DONE, Restored.NOTHING]
    assert cluster.route["spec"] == before
    assert cluster.events == ["CanaryAttached", "WeightShifted", "CanaryAlarm", "RolledBack"]


def test_promotion_may_be_repeated_and_needs_all_the_traffic(cluster, traffic):
    traffic.attach()
    traffic.shift(50, 1, now=1.0)
    with pytest.raises(RolloutError, match=r"has 50 % of the traffic, not 100 %"):
        traffic.promote()
    traffic.shift(100, 2, now=2.0)
    traffic.promote()
    traffic.promote()
    assert cluster.events.count("Promoted") == 1


def test_a_second_rollout_cannot_attach_shift_or_restore(cluster, traffic):
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    held = copy.deepcopy(cluster.route)
    other = traffic_on(cluster, "rollout_llm/other")
    with pytest.raises(HoldLost, match="held by rollout_llm/test"):
        other.attach()
    with pytest.raises(HoldLost):
        other.shift(50, 1, now=2.0)
    assert other.restore("x") is Restored.NOTHING
    assert cluster.route == held


def race(monkeypatch, cluster, losses, change=lambda: None):
    """The first `losses` patches come too late: somebody wrote between our read and our write."""
    patch, left = cluster.patch, [losses]

    def late(*args):
        if left[0]:
            left[0] -= 1
            change()
            meta = cluster.route["metadata"]
            meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
            raise PatchRefused("the test did not hold")
        return patch(*args)

    monkeypatch.setattr(cluster, "patch", late)


def test_a_race_against_a_harmless_write_is_run_again(monkeypatch, cluster, traffic):
    race(monkeypatch, cluster, ATTEMPTS - 1)
    traffic.attach()
    assert cluster.weights() == {"llm-pool": 1, "llm-pool-version-2": 0}


def test_a_race_that_is_lost_again_and_again_gives_up_without_a_write(monkeypatch, cluster, traffic):
    race(monkeypatch, cluster, ATTEMPTS)
    with pytest.raises(PatchRefused):
        traffic.attach()
    assert cluster.weights() == {"llm-pool": 1}


def test_a_race_against_somebody_elses_weights_is_drift(monkeypatch, cluster, traffic):
    traffic.attach()

    def edit():
        cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7

    race(monkeypatch, cluster, 1, edit)
    with pytest.raises(RouteDrift):
        traffic.shift(5, 1, now=1.0)
    assert cluster.weights() == {"llm-pool": 7, "llm-pool-version-2": 0}


def test_rules_of_others_may_move_ours_along(cluster, traffic):
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    cluster.route["spec"]["rules"].insert(0, {"backendRefs": [service("web")]})
    traffic.shift(50, 2, now=2.0)
    assert traffic.restore("x") is Restored.DONE
    assert [rule["backendRefs"] for rule in cluster.route["spec"]["rules"]] == [
        [service("web")],
        [ref("llm-pool")],
    ]


def test_a_restore_never_overwrites_somebody_elses_weights(cluster, traffic):
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    cluster.route["spec"]["rules"][0]["backendRefs"] = [ref("llm-pool", 3), ref("llm-pool-version-2", 1)]
    with pytest.raises(RouteDrift, match="left as they are"):
        traffic.restore("x")
    assert cluster.weights() == {"llm-pool": 3, "llm-pool-version-2": 1}


def test_weights_that_others_put_back_are_let_go(cluster, traffic):
    before = copy.deepcopy(cluster.route["spec"])
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    cluster.route["spec"] = copy.deepcopy(before)
    assert traffic.restore("x") is Restored.BY_OTHERS
    assert cluster.route["spec"] == before
    assert "annotations" not in cluster.route["metadata"]


def test_a_step_that_raised_an_alarm_is_not_raised_again(cluster, traffic):
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    traffic.retreat("slow")
    with pytest.raises(RolloutError, match="raised an alarm"):
        traffic.shift(5, 1, now=2.0)
    assert cluster.weights() == {"llm-pool": 1, "llm-pool-version-2": 0}
