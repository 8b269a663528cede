"""`stable: current` is what has the traffic when a run begins."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import PlanInvalid, RouteRefused
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.preflight.current import with_current
from tests.support.alias import alias_cluster, old_alias_cluster
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import CANARY, STABLE, food_review_plan, llm_plan
from tests.support.routes import ref, service


def llm_current(**changes: Any) -> Plan:
    return llm_plan(stable="current", **changes)


def routing(*backends: dict[str, Any]) -> FakeCluster:
    """A cluster whose route splits its traffic so."""
    cluster = FakeCluster()
    cluster.route["spec"]["rules"][0]["backendRefs"] = list(backends)
    return cluster


def test_it_is_the_pool_that_has_the_traffic_whatever_else_is_named() -> None:
    named = with_current(routing(ref("older", 0), ref("newer", 3), service("web")), llm_current())
    assert named == llm_plan(stable="newer")


def test_a_name_stays_and_nothing_is_read() -> None:
    plan = llm_plan()
    assert with_current(FakeCluster(), plan) is plan


def test_where_the_canary_has_the_traffic_there_is_nothing_new() -> None:
    assert with_current(routing(ref(STABLE, 0), ref(CANARY, 100)), llm_current()) is None


@pytest.mark.parametrize(
    ("backends", "who"),
    [
        ((ref(STABLE, 75), ref(CANARY, 25)), "llm-pool and llm-pool-version-2 have"),
        ((ref(STABLE, 0),), "no pool has"),
        ((), "no pool has"),
    ],
)
def test_where_it_is_unclear_it_is_refused(backends: tuple[dict[str, Any], ...], who: str) -> None:
    cluster = routing(*backends)
    with pytest.raises(RouteRefused, match=f"says nothing while {who} the traffic"):
        with_current(cluster, llm_current())
    assert not cluster.writes


def test_only_the_rules_that_move_are_asked() -> None:
    cluster = routing(ref(STABLE))
    rules = cluster.route["spec"]["rules"]
    rules.append(rules[0] | {"name": "chat", "backendRefs": [ref("chatty")]})
    named = with_current(cluster, llm_current(routes=[{"name": "routes-to-llm", "rules": ["chat"]}]))
    assert named is not None
    assert named.stable == "chatty"


def test_a_route_that_is_not_there_is_refused() -> None:
    with pytest.raises(RouteRefused, match="no HTTPRoute gone"):
        with_current(FakeCluster(), llm_current(routes=[{"name": "gone"}]))


def test_all_routes_of_a_pool_cannot_tell_which_pool() -> None:
    with pytest.raises(PlanInvalid, match="stable: current is the pool that has the traffic of `routes`"):
        llm_current(routes="all")


@pytest.mark.parametrize("cluster", [alias_cluster(), old_alias_cluster()])
def test_of_adapters_it_is_the_one_that_answers_for_the_alias(cluster: FakeCluster) -> None:
    plan = food_review_plan(stable="current")
    assert with_current(cluster, plan) == food_review_plan(stable="food-review-1")
    assert with_current(cluster, food_review_plan(stable="current", canary="food-review-1")) is None
