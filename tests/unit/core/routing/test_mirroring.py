"""Copies of requests to the canary: our filter comes and goes, those of others stay."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import RouteDrift
from inference_rollouts.core.routing import drift, patches
from tests.support.claims import TOKEN, attached, own, restored, shifted
from tests.support.json_patch import apply_patch
from tests.support.routes import ref, route, service


@pytest.mark.parametrize("filters", [None, [], [{"type": "RequestHeaderModifier"}]])
def test_mirroring_adds_a_filter_and_leaves_the_filters_as_found(filters: Any) -> None:
    before = route([ref("llm-pool")])
    if filters is not None:
        before["spec"]["rules"][0]["filters"] = filters
    live = shifted(attached(before), 0, 1, mirror=20)
    *kept, mirror = live["spec"]["rules"][0]["filters"]
    assert kept == (filters or [])
    assert mirror == {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": ref("new"), "percent": 20},
    }
    assert live["spec"]["rules"][0]["backendRefs"] == [ref("llm-pool"), ref("new", 0)]
    assert restored(live)["spec"] == before["spec"]
    later = shifted(live, 5, 2)
    assert later["spec"]["rules"][0].get("filters") == filters
    assert restored(later)["spec"] == before["spec"]


def test_a_mirror_that_somebody_changed_is_drift() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 0, 1, mirror=20)
    live["spec"]["rules"][0]["filters"][0]["requestMirror"]["percent"] = 100
    with pytest.raises(RouteDrift, match="the mirror is gone or changed"):
        own(live)


@pytest.mark.parametrize("first", [False, True])
def test_filters_of_others_that_come_while_it_mirrors_stay_and_keep_nothing_from_going_on_or_back(
    *, first: bool
) -> None:
    """As they do beside weights; copies went on for good, since the way back took them for drift."""
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 0, 1, mirror=20)
    theirs = {"type": "RequestHeaderModifier"}
    live["spec"]["rules"][0]["filters"].insert(0 if first else 1, theirs)
    left = before["spec"]["rules"][0] | {"filters": [theirs]}
    assert restored(live)["spec"]["rules"] == [left]
    later = shifted(live, 5, 2)
    assert later["spec"]["rules"][0]["filters"] == [theirs]
    assert restored(later)["spec"]["rules"] == [left]


def test_weights_put_back_beside_a_mirror_are_not_all_that_was_found() -> None:
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 0, 1, mirror=20)
    claim = own(live)
    live["spec"]["rules"][0]["backendRefs"] = before["spec"]["rules"][0]["backendRefs"]
    assert not drift.is_as_found(live, claim)
    del live["spec"]["rules"][0]["filters"]
    assert drift.is_as_found(live, claim)


def test_a_mirror_of_others_to_something_called_like_the_canary_stays() -> None:
    before = route([ref("llm-pool")])
    theirs = {"type": "RequestMirror", "requestMirror": {"backendRef": service("new")}}
    before["spec"]["rules"][0]["filters"] = [theirs]
    live = shifted(attached(before), 0, 1, mirror=20)
    added = {"type": "RequestHeaderModifier"}
    live["spec"]["rules"][0]["filters"].append(added)
    claim = drift.own_claim(live, TOKEN)
    left = apply_patch(live, patches.retreat_patch(live, claim))
    assert left["spec"]["rules"][0]["filters"] == [theirs, added]
