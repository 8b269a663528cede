"""A rule is known by its name or by what it matches, never by its place or its looks."""

from __future__ import annotations

import copy

import pytest

from inference_rollouts.core.errors import RouteDrift
from tests.support.claims import attached, own, restored, shifted
from tests.support.routes import ref, route, service


def test_a_foreign_rule_with_our_split_is_left_alone() -> None:
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 50)
    foreign = copy.deepcopy(live["spec"]["rules"][0])
    foreign["matches"] = [{"path": {"type": "PathPrefix", "value": "/other"}}]
    live["spec"]["rules"].insert(0, foreign)
    after = restored(live)
    assert after["spec"]["rules"] == [foreign, *before["spec"]["rules"]]


def test_a_name_counts_more_than_matches() -> None:
    before = route([ref("llm-pool")], [service("web")])
    before["spec"]["rules"][0]["name"] = "chat"
    live = shifted(attached(before), 50)
    live["spec"]["rules"].reverse()
    live["spec"]["rules"][1]["matches"] = [{"path": {"type": "Exact", "value": "/v1"}}]
    after = restored(live)
    assert after["spec"]["rules"][1]["backendRefs"] == before["spec"]["rules"][0]["backendRefs"]
    assert after["spec"]["rules"][0] == before["spec"]["rules"][1]


def test_a_second_rule_that_matches_alike_is_told_apart_by_what_we_set() -> None:
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 50)
    twin = copy.deepcopy(before["spec"]["rules"][0])
    live["spec"]["rules"].insert(0, twin)
    assert restored(live)["spec"]["rules"] == [twin, *before["spec"]["rules"]]


@pytest.mark.parametrize("named", [0, 1])
def test_no_rule_is_two_of_ours_where_only_one_of_those_that_match_alike_has_a_name(named: int) -> None:
    """Both would be one rule in one patch, which the cluster refuses for ever."""
    before = route([ref("llm-pool", 3)], [ref("llm-pool", 7)])
    before["spec"]["rules"][named]["name"] = "chat"
    live = shifted(attached(before), 50)
    foreign = {"matches": [{"path": {"type": "Exact", "value": "/x"}}], "backendRefs": [service("web")]}
    live["spec"]["rules"].insert(0, foreign)
    assert restored(live)["spec"]["rules"] == [foreign, *before["spec"]["rules"]]


def test_a_named_rule_that_is_gone_takes_none_of_ours_that_matches_alike() -> None:
    before = route([ref("llm-pool", 3)], [ref("llm-pool", 7)])
    before["spec"]["rules"][0]["name"] = "chat"
    live = shifted(attached(before), 50)
    del live["spec"]["rules"][0]
    with pytest.raises(RouteDrift, match="gone"):
        own(live)
    assert restored(live)["spec"]["rules"] == before["spec"]["rules"][1:]
