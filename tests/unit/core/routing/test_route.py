"""Which rules are moved, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.routing.route import carries, check_place, select_places
from tests.support.routes import ref, route, service


def paths(live: dict[str, Any], names: Any = None) -> list[str]:
    return [place.path for place in select_places(live, "llm-pool", names)]


def test_the_rules_that_send_traffic_to_the_stable_pool_are_found() -> None:
    idle = [ref("llm-pool", 0), ref("x")]
    live = route([ref("other")], [ref("llm-pool")], idle, [ref("x"), ref("llm-pool", 2)])
    assert paths(live) == ["/spec/rules/1", "/spec/rules/3"]


def test_rule_names_choose_among_several() -> None:
    live = route([ref("llm-pool")], [ref("llm-pool")])
    live["spec"]["rules"][1]["name"] = "chat"
    assert paths(live, ["chat"]) == ["/spec/rules/1"]
    with pytest.raises(RouteRefused, match="no rule called embed that"):
        paths(live, ["chat", "embed"])


@pytest.mark.parametrize(
    "live",
    [
        route([ref("other")]),
        route(),
        route([service("llm-pool")]),
        route([{**ref("llm-pool"), "namespace": "elsewhere"}]),
        route([ref("llm-pool", 0), ref("other")]),
    ],
)
def test_a_route_without_such_a_rule_is_refused(live: dict[str, Any]) -> None:
    with pytest.raises(RouteRefused, match="no rule that sends traffic to InferencePool llm-pool"):
        paths(live)


@pytest.mark.parametrize(
    ("backends", "words"),
    [
        ([ref("llm-pool"), service("web")], "mixes"),
        ([ref("llm-pool"), ref("llm-pool")], "more than once"),
        ([ref("llm-pool"), ref("new")], "serves nobody yet"),
        ([ref("llm-pool"), *(ref(f"p{i}", 0) for i in range(15))], "16 backendRefs"),
        ([ref("llm-pool", 99_991), ref("other", 9)], "too large"),
    ],
)
def test_rules_that_cannot_be_moved_safely_are_refused(backends: list[Any], words: str) -> None:
    live = route(backends)
    with pytest.raises(RouteRefused, match=words):
        check_place(live, select_places(live, "llm-pool")[0], "llm-pool", "new")


@pytest.mark.parametrize("other", [ref("older", 0), ref("other", 40), ref("new", 0)])
def test_other_pools_beside_the_stable_one_are_no_obstacle(other: Any) -> None:
    live = route([other, ref("llm-pool", 100)])
    check_place(live, select_places(live, "llm-pool")[0], "llm-pool", "new")


def test_a_pool_is_carried_by_weight_not_by_name() -> None:
    live = route([ref("llm-pool", 0)], [ref("x")])
    assert (carries(live, "llm-pool"), carries(live, "x")) == (False, True)
