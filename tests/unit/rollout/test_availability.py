"""What the cluster says of a pool, for whoever raises, judges or goes back."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from inference_rollouts.core.errors import StableUnavailable
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.routing.claim import CLAIM, Claim, Owner, place_of
from inference_rollouts.core.serving.availability import Availability
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.bring_back import bring_back
from inference_rollouts.rollout.capacity import adapter_room, pool_room
from inference_rollouts.rollout.observation import observe_cluster
from inference_rollouts.rollout.way_back import Restored
from tests.support.claims import TOKEN
from tests.support.plans import RUN
from tests.support.read_only_cluster import Objects, frozen, pool, routed, says
from tests.support.routes import ref

GW = {"name": "gw"}
PARENT = Parent("gw", "default", controller="c", route="routes-to-llm")


def plan() -> Any:
    value = SimpleNamespace(stable="llm-pool", canary="new", pool="llm-pool", pool_of=lambda side: side)
    value.as_pool_plan = value.as_adapter_plan = value
    return value


def claimed(*entries: dict[str, Any]) -> dict[str, Any]:
    live = routed([GW], *entries)
    places = (place_of(live, "/spec/rules/0"),)
    claim = Claim(
        token=TOKEN, owner=Owner(run=RUN), stable="llm-pool", canary="new", steps=3, places=places, percent=50
    )
    live["metadata"]["annotations"] = {CLAIM: claim.to_json()}
    live["spec"]["rules"][0]["backendRefs"] = [ref("llm-pool", 50), ref("new", 50)]
    return live


def cluster(mode: str = "FailClose") -> Objects:
    return Objects(claimed(says(GW)), *pool("llm-pool", mode=mode), *pool("new"))


def kill_picker(live: Objects, name: str = "llm-pool") -> Objects:
    live.remove("Pod", f"{name}-epp-")
    return live


def test_pods_and_picker_make_a_pool_available() -> None:
    assert availability_of(cluster(), "llm-pool") == Availability(True, 3)
    assert not availability_of(cluster(), "llm-pool", needed=4).available


def test_a_pool_that_is_not_there_takes_nothing() -> None:
    assert availability_of(cluster(), "gone") == Availability(False, 0, "There is no InferencePool gone.")


@pytest.mark.parametrize(("mode", "available"), [("FailClose", False), ("FailOpen", True)])
def test_what_a_dead_picker_means_is_its_failure_mode(mode: str, available: bool) -> None:
    answer = availability_of(kill_picker(cluster(mode)), "llm-pool")
    assert answer.available is available
    assert answer.pods == 3
    assert "llm-pool-epp of llm-pool has no ready pod" in answer.sentence


def test_a_picker_whose_service_is_gone_is_dead() -> None:
    live = cluster()
    live.remove("Service", "llm-pool-epp")
    assert "(there is no Service llm-pool-epp)" in availability_of(live, "llm-pool").sentence


def test_one_ready_picker_of_several_is_enough() -> None:
    live = cluster()
    standby = live.get("v1", "Pod", "llm-pool-epp-0")
    standby["metadata"]["name"], standby["status"] = "llm-pool-epp-1", {}
    live.objects.insert(0, standby)
    assert availability_of(live, "llm-pool") == Availability(True, 3)


@pytest.mark.parametrize("mode", ["FailClose", "FailOpen"])
@pytest.mark.parametrize("dead", ["llm-pool", "new"])
def test_no_weight_is_raised_while_a_picker_is_dead(mode: str, dead: str) -> None:
    clients: Any = SimpleNamespace(cluster=kill_picker(cluster(mode), dead))
    answer = pool_room(clients, frozen(plan(), (PARENT,)), Step(weight=50, bake=1))
    assert answer.phase is Phase.WAITING
    assert f"The endpoint picker {dead}-epp" in answer.message
    alone = adapter_room(clients, frozen(plan(), ()))
    assert alone.phase is (Phase.WAITING if dead == "llm-pool" else Phase.READY)


def test_a_stable_pool_whose_picker_drops_everything_is_no_way_back() -> None:
    health = observe_cluster(kill_picker(cluster()), frozen(plan(), (PARENT,)), 0.0).health
    assert (health.ready_canary, health.ready_stable) == (3, 0)
    open_ = observe_cluster(kill_picker(cluster("FailOpen")), frozen(plan(), (PARENT,)), 0.0)
    assert open_.health.ready_stable == 3
    assert ["so requests reach any pod" in each for each in open_.blockers] == [True]


def test_a_canary_whose_picker_drops_everything_is_out() -> None:
    seen = observe_cluster(kill_picker(cluster(), "new"), frozen(plan(), (PARENT,)), 0.0)
    assert "FailClose drops all requests" in seen.health.canary_outage
    assert seen.blockers == (seen.health.canary_outage,)
    well = observe_cluster(cluster(), frozen(plan(), (PARENT,)), 0.0)
    assert (well.health.canary_outage, well.blockers) == ("", ())


def test_pods_that_are_gone_are_no_outage_of_the_picker() -> None:
    live = cluster()
    live.remove("Pod", "llm-pool-")
    seen = observe_cluster(live, frozen(plan(), (PARENT,)), 0.0)
    assert (seen.health.ready_stable, seen.blockers) == (0, ())


def test_a_step_waits_for_every_parent_of_the_route() -> None:
    entries = [says(GW), says({"name": "gw", "namespace": "infra"}, Reconciled="False")]
    live = cluster()
    live.objects[0] = claimed(*entries)
    live.objects[0]["spec"]["parentRefs"] = [GW, {"name": "gw", "namespace": "infra"}]
    both = (PARENT, Parent("gw", "infra", controller="c", route="routes-to-llm"))
    assert observe_cluster(live, frozen(plan(), both[:1]), 0.0).blockers == ()
    (late,) = observe_cluster(live, frozen(plan(), both), 0.0).blockers
    assert "Reconciled is False at Gateway infra/gw (R: words)" in late


class Back:
    """A run on its way back with `percent` on the canary, and what is written on that way."""

    def __init__(self, live: Objects, percent: int = 50, *, decided: bool = False, needed: int = 3) -> None:
        self.plan, self.cluster = plan(), live
        self.frozen = SimpleNamespace(stable_pods=needed)
        self.held: list[int] = []
        way_back = SimpleNamespace(
            is_decided=lambda: decided,
            hold=lambda kept, why: self.held.append(kept),
            restore=lambda why, now: Restored.DONE,
        )
        claims = [SimpleNamespace(percent=percent)]
        self.traffic = SimpleNamespace(claims=lambda: claims, way_back=way_back)

    def bring(self) -> Restored:
        run: Any = self
        return bring_back(run, "an alarm", 9.0)


@pytest.mark.parametrize("harm", [kill_picker, lambda live: live.remove("Pod", "llm-pool-")])
def test_nothing_goes_back_to_a_pool_that_can_take_nothing_while_the_canary_serves(
    harm: Callable[[Objects], object],
) -> None:
    live = cluster()
    assert Back(live).bring() is Restored.DONE
    harm(live)
    back = Back(live)
    with pytest.raises(StableUnavailable, match=r"llm-pool cannot take all .*so new has 100 % of it"):
        back.bring()
    assert back.held == [100]
    assert Back(live, percent=0).bring() is Restored.DONE


@pytest.mark.parametrize(("percent", "kept"), [(100, 34), (50, 34), (20, 20)])
def test_a_pool_that_lost_a_pod_gets_back_what_its_others_can_take(percent: int, kept: int) -> None:
    live = cluster()
    live.remove("Pod", "llm-pool-2")
    back = Back(live, percent)
    with pytest.raises(StableUnavailable, match=f"new has {kept} % of it"):
        back.bring()
    assert back.held == [kept]
    assert Back(live, percent, needed=2).bring() is Restored.DONE


def test_a_promotion_that_was_decided_is_completed_whatever_stable_can_take() -> None:
    assert Back(kill_picker(cluster()), 100, decided=True).bring() is Restored.DONE


def test_a_dead_picker_that_fails_open_is_a_way_back() -> None:
    assert Back(kill_picker(cluster("FailOpen"))).bring() is Restored.DONE


def test_where_the_canary_takes_nothing_either_going_back_loses_nothing() -> None:
    assert Back(kill_picker(kill_picker(cluster()), "new")).bring() is Restored.DONE
