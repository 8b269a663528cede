"""The verbs that move a route, against races, crashes and other people."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimLost, PatchRefused, RolloutError, RouteDrift
from inference_rollouts.core.limits import WRITE_ATTEMPTS
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.traffic import Restored, Traffic
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import CANARY, RUN, STABLE, llm_plan
from tests.support.routes import ref, route, service


def traffic_on(cluster: FakeCluster, run: str = RUN) -> Traffic:
    target, plan = Target(GATEWAY_API, "HTTPRoute", "routes-to-llm"), llm_plan()
    return Traffic(cluster, plan, run, [target], kind_of(plan).places)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def traffic(cluster: FakeCluster) -> Traffic:
    return traffic_on(cluster)


def test_every_verb_may_be_repeated(cluster: FakeCluster, traffic: Traffic) -> None:
    before = copy.deepcopy(cluster.route["spec"])
    for _ in range(2):
        traffic.attach()
    since = {traffic.shift(5, 1, now=now) for now in (100.0, 200.0)}
    assert since == {100.0}, "a repeated shift keeps the time of the first"
    for _ in range(2):
        traffic.retreat("slow")
    assert [traffic.restore("slow"), traffic.restore("slow")] == [Restored.DONE, Restored.NOTHING]
    assert cluster.route["spec"] == before
    assert cluster.events == ["CanaryAttached", "WeightShifted", "CanaryAlarm", "RolledBack"]


def test_promotion_may_be_repeated_and_needs_all_the_traffic(cluster: FakeCluster, traffic: Traffic) -> None:
    traffic.attach()
    traffic.shift(50, 1, now=1.0)
    with pytest.raises(RolloutError, match=r"has 50 % of the traffic, not 100 %"):
        traffic.promote()
    traffic.shift(100, 2, now=2.0)
    traffic.promote()
    traffic.promote()
    assert cluster.events.count("Promoted") == 1


def test_a_second_rollout_cannot_attach_shift_or_restore(cluster: FakeCluster, traffic: Traffic) -> None:
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    claimed = copy.deepcopy(cluster.route)
    other = traffic_on(cluster, "rollout_llm/other")
    with pytest.raises(ClaimLost, match="claimed by rollout_llm/test"):
        other.attach()
    with pytest.raises(ClaimLost):
        other.shift(50, 1, now=2.0)
    assert other.restore("x") is Restored.NOTHING
    assert cluster.route == claimed


def race(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, losses: int, change: Any = lambda: None
) -> None:
    """The first `losses` patches come too late: somebody wrote between our read and our write."""
    patch, left = cluster.patch, [losses]

    def late(*args: Any) -> K8sObject:
        if left[0]:
            left[0] -= 1
            change()
            meta = cluster.route["metadata"]
            meta["resourceVersion"] = str(int(meta["resourceVersion"]) + 1)
            raise PatchRefused("the test did not hold")
        return patch(*args)

    monkeypatch.setattr(cluster, "patch", late)


def test_a_race_against_a_harmless_write_is_run_again(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, traffic: Traffic
) -> None:
    race(monkeypatch, cluster, WRITE_ATTEMPTS - 1)
    traffic.attach()
    assert cluster.weights() == {STABLE: 1, CANARY: 0}


def test_a_race_that_is_lost_again_and_again_gives_up_without_a_write(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, traffic: Traffic
) -> None:
    race(monkeypatch, cluster, WRITE_ATTEMPTS)
    with pytest.raises(PatchRefused):
        traffic.attach()
    assert cluster.weights() == {STABLE: 1}


def test_a_race_against_somebody_elses_weights_is_drift(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, traffic: Traffic
) -> None:
    traffic.attach()

    def edit() -> None:
        cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7

    race(monkeypatch, cluster, 1, edit)
    with pytest.raises(RouteDrift):
        traffic.shift(5, 1, now=1.0)
    assert cluster.weights() == {STABLE: 7, CANARY: 0}


def test_rules_of_others_may_move_ours_along(cluster: FakeCluster, traffic: Traffic) -> None:
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    cluster.route["spec"]["rules"].insert(0, {"backendRefs": [service("web")]})
    traffic.shift(50, 2, now=2.0)
    assert traffic.restore("x") is Restored.DONE
    assert [rule["backendRefs"] for rule in cluster.route["spec"]["rules"]] == [
        [service("web")],
        [ref(STABLE)],
    ]


def test_a_restore_never_overwrites_somebody_elses_weights(cluster: FakeCluster, traffic: Traffic) -> None:
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    cluster.route["spec"]["rules"][0]["backendRefs"] = [ref(STABLE, 3), ref(CANARY, 1)]
    with pytest.raises(RouteDrift, match="left as they are"):
        traffic.restore("x")
    assert cluster.weights() == {STABLE: 3, CANARY: 1}


def test_weights_that_others_put_back_are_let_go(cluster: FakeCluster, traffic: Traffic) -> None:
    before = copy.deepcopy(cluster.route["spec"])
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    cluster.route["spec"] = copy.deepcopy(before)
    assert traffic.restore("x") is Restored.BY_OTHERS
    assert cluster.route["spec"] == before
    assert "annotations" not in cluster.route["metadata"]


def test_a_step_that_raised_an_alarm_is_not_raised_again(cluster: FakeCluster, traffic: Traffic) -> None:
    traffic.attach()
    traffic.shift(5, 1, now=1.0)
    traffic.retreat("slow")
    with pytest.raises(RolloutError, match="raised an alarm"):
        traffic.shift(5, 1, now=2.0)
    assert cluster.weights() == {STABLE: 1, CANARY: 0}


class TwoRoutes:
    """The guide's route and a second one to the same pool, moved together."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        second = route([service("web")], [ref(STABLE, 3)])
        second["metadata"] |= {"name": "second", "uid": "u-9"}
        self.cluster.put(GATEWAY_API, "HTTPRoute", second)
        self.before = self.specs()
        targets = [Target(GATEWAY_API, "HTTPRoute", name) for name in ("routes-to-llm", "second")]
        plan = llm_plan(routes="all")
        self.traffic = Traffic(self.cluster, plan, RUN, targets, kind_of(plan).places)

    def specs(self) -> dict[Any, Any]:
        return {
            name: copy.deepcopy(obj["spec"])
            for (kind, name), obj in self.cluster.objects.items()
            if kind == "HTTPRoute"
        }

    def percents(self) -> list[int]:
        return [claim.percent for claim in self.traffic.claims()]

    def fail(
        self,
        monkeypatch: pytest.MonkeyPatch,
        name: str = "second",
        times: int = 1,
        error: type[BaseException] = PatchRefused,
    ) -> None:
        """Patches of one route fail, after so many that do not."""
        patch, left = self.cluster.patch, [times]

        def failing(api: str, kind: str, which: str, ops: Any) -> K8sObject:
            if which == name:
                left[0] -= 1
                if left[0] < 0:
                    raise error
            return patch(api, kind, which, ops)

        monkeypatch.setattr(self.cluster, "patch", failing)


@pytest.fixture
def two() -> TwoRoutes:
    return TwoRoutes()


def test_several_routes_move_together_and_come_back(two: TwoRoutes) -> None:
    two.traffic.attach()
    for step, percent in enumerate((5, 50), start=1):
        two.traffic.shift(percent, step, now=float(step))
        assert two.percents() == [percent, percent]
    assert two.traffic.restore("x") is Restored.DONE
    assert two.specs() == two.before


@pytest.mark.parametrize("reached", [0, 5])
def test_a_raise_that_the_second_route_refuses_is_undone_on_the_first(
    monkeypatch: pytest.MonkeyPatch, two: TwoRoutes, reached: int
) -> None:
    two.traffic.attach()
    if reached:
        two.traffic.shift(reached, 1, now=1.0)
    claimed = two.specs()
    with monkeypatch.context() as broken:
        two.fail(broken, times=0)
        with pytest.raises(PatchRefused):
            two.traffic.shift(50, 2, now=2.0)
        assert two.specs() == claimed
        assert two.percents() == [reached, reached]
    two.traffic.shift(50, 2, now=3.0)
    assert two.percents() == [50, 50], "and may be tried again"


def test_a_mirror_that_the_second_route_refuses_is_ended_on_the_first(
    monkeypatch: pytest.MonkeyPatch, two: TwoRoutes
) -> None:
    two.traffic.attach()
    claimed = two.specs()
    with monkeypatch.context() as broken:
        two.fail(broken, times=0)
        with pytest.raises(PatchRefused):
            two.traffic.shift(0, 1, now=1.0, mirror=20)
    assert two.specs() == claimed
    two.traffic.shift(0, 1, now=2.0, mirror=20)
    assert [claim.mirror for claim in two.traffic.claims()] == [20, 20]
    two.traffic.retreat("slow")
    assert two.specs() == claimed


def test_an_attach_that_the_second_route_refuses_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, two: TwoRoutes
) -> None:
    two.fail(monkeypatch, times=0)
    with pytest.raises(PatchRefused):
        two.traffic.attach()
    assert two.specs() == two.before
    assert two.traffic.claims() == []


def test_what_dies_between_two_writes_is_completed_by_a_retry(
    monkeypatch: pytest.MonkeyPatch, two: TwoRoutes
) -> None:
    two.traffic.attach()
    with monkeypatch.context() as broken:
        two.fail(broken, times=0, error=KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            two.traffic.shift(5, 1, now=1.0)
    assert two.percents() == [5, 0]
    assert two.traffic.shift(5, 1, now=9.0) == 9.0, "the step begins when the last route has moved"
    assert two.percents() == [5, 5]


@pytest.mark.parametrize("broken_route", ["routes-to-llm", "second"])
def test_a_retreat_takes_the_canary_off_wherever_it_can(
    monkeypatch: pytest.MonkeyPatch, two: TwoRoutes, broken_route: str
) -> None:
    two.traffic.attach()
    two.traffic.shift(50, 1, now=1.0)
    two.fail(monkeypatch, broken_route, times=0)
    with pytest.raises(PatchRefused):
        two.traffic.retreat("slow")
    assert sorted(two.percents()) == [0, 50]


def promoted_until(monkeypatch: pytest.MonkeyPatch, two: TwoRoutes, name: str, times: Any) -> None:
    two.traffic.attach()
    two.traffic.shift(100, 1, now=1.0)
    with monkeypatch.context() as broken:
        two.fail(broken, name, times, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            two.traffic.promote()


def test_a_promotion_that_died_before_it_was_decided_is_rolled_back_everywhere(
    monkeypatch: pytest.MonkeyPatch, two: TwoRoutes
) -> None:
    promoted_until(monkeypatch, two, "second", times=0)
    assert two.traffic.restore("died") is Restored.DONE
    assert two.specs() == two.before


@pytest.mark.parametrize("name", ["routes-to-llm", "second"])
def test_a_promotion_that_died_after_it_was_decided_is_completed(
    monkeypatch: pytest.MonkeyPatch, two: TwoRoutes, name: str
) -> None:
    promoted_until(monkeypatch, two, name, times=1)
    full = two.specs()
    assert two.traffic.restore("died") is Restored.COMMITTED
    assert two.specs() == full
    assert two.traffic.claims() == []
    two.traffic.promote()


def test_a_restore_goes_on_after_a_route_that_others_changed(two: TwoRoutes) -> None:
    two.traffic.attach()
    two.traffic.shift(50, 1, now=1.0)
    two.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7
    with pytest.raises(RouteDrift):
        two.traffic.restore("x")
    assert two.specs()["second"] == two.before["second"]
