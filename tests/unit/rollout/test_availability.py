"""What the cluster says of a pool, for whoever raises, judges or goes back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.objects.crashes import Crashes
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.routing.claim import CLAIM, Claim, Owner, place_of
from inference_rollouts.core.serving.availability import Availability
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.capacity import InFlight, adapter_room, pool_room
from inference_rollouts.rollout.observation import observe_cluster
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
    store: Any = None  # is not asked
    step = Step(weight=50, bake=1)
    answer = pool_room(clients.cluster, store, frozen(plan(), (PARENT,)), InFlight(), step)
    assert answer.phase is Phase.WAITING
    assert f"The endpoint picker {dead}-epp" in answer.message
    alone = adapter_room(clients, frozen(plan(), ()))
    assert alone.phase is (Phase.WAITING if dead == "llm-pool" else Phase.READY)


def test_a_stable_pool_whose_picker_drops_everything_is_no_way_back() -> None:
    health = observe_cluster(kill_picker(cluster()), frozen(plan(), (PARENT,)), Crashes(0.0)).health
    assert (health.ready_canary, health.ready_stable) == (3, 0)
    open_ = observe_cluster(kill_picker(cluster("FailOpen")), frozen(plan(), (PARENT,)), Crashes(0.0))
    assert open_.health.ready_stable == 3
    assert ["so requests reach any pod" in each for each in open_.blockers] == [True]


def test_a_canary_whose_picker_drops_everything_is_out() -> None:
    seen = observe_cluster(kill_picker(cluster(), "new"), frozen(plan(), (PARENT,)), Crashes(0.0))
    assert "FailClose drops all requests" in seen.health.canary_outage
    assert seen.blockers == (seen.health.canary_outage,)
    well = observe_cluster(cluster(), frozen(plan(), (PARENT,)), Crashes(0.0))
    assert (well.health.canary_outage, well.blockers) == ("", ())


def test_pods_that_are_gone_are_no_outage_of_the_picker() -> None:
    live = cluster()
    live.remove("Pod", "llm-pool-")
    seen = observe_cluster(live, frozen(plan(), (PARENT,)), Crashes(0.0))
    assert (seen.health.ready_stable, seen.blockers) == (0, ())


def test_a_step_waits_for_every_parent_of_the_route() -> None:
    entries = [says(GW), says({"name": "gw", "namespace": "infra"}, Reconciled="False")]
    live = cluster()
    live.objects[0] = claimed(*entries)
    live.objects[0]["spec"]["parentRefs"] = [GW, {"name": "gw", "namespace": "infra"}]
    both = (PARENT, Parent("gw", "infra", controller="c", route="routes-to-llm"))
    assert observe_cluster(live, frozen(plan(), both[:1]), Crashes(0.0)).blockers == ()
    (late,) = observe_cluster(live, frozen(plan(), both), Crashes(0.0)).blockers
    assert "Reconciled is False at Gateway infra/gw (R: words)" in late
