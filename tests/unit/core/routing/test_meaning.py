"""An entry is known by its name, and means what it meant, or nothing goes on."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.core.errors import RouteDrift
from inference_rollouts.core.routing import drift, patches
from inference_rollouts.core.routing.claim import Ending
from tests.support.claims import attached, ending, own, restored, shifted
from tests.support.routes import ref, route, service


def refs(live: Any) -> Any:
    return [(r["name"], r.get("weight")) for r in live["spec"]["rules"][0]["backendRefs"]]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "change",
    [
        {"group": "inference.networking.x-k8s.io"},
        {"namespace": "other"},
        {"group": "", "kind": "Service"},
        {"kind": "InferencePoolImport"},
    ],
)
def test_a_name_that_means_another_backend_stops_what_goes_on_and_not_the_way_back(
    which: int, change: Any
) -> None:
    before = shifted(attached(route([ref("llm-pool")])), 50)
    live = copy.deepcopy(before)
    live["spec"]["rules"][0]["backendRefs"][which] |= change
    claim = own(live)
    with pytest.raises(RouteDrift, match="means another backend now"):
        drift.untouched(live, claim)
    with pytest.raises(RouteDrift):
        patches.shift_patch(live, claim, claim.with_(percent=80))
    with pytest.raises(RouteDrift):
        patches.commit_patch(live, claim)
    with pytest.raises(RouteDrift):
        patches.promote_patch(live, claim, ending(claim, Ending.PROMOTED))
    assert refs(restored(live)) == [("llm-pool", None)]


def test_it_stops_a_raise_before_the_first_request_goes_there() -> None:
    live = attached(route([ref("llm-pool")]))
    live["spec"]["rules"][0]["backendRefs"][1]["namespace"] = "other"
    claim = own(live)
    with pytest.raises(RouteDrift, match=r"new means another backend now .*namespace other"):
        patches.shift_patch(live, claim, claim.with_(percent=5))


def test_what_others_add_with_weight_0_means_what_it_likes() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 50)
    live["spec"]["rules"][0]["backendRefs"].append(service("new", 0))
    assert drift.untouched(live, own(live))
    live["spec"]["rules"][0]["backendRefs"].append(service("other", 0))
    assert drift.untouched(live, own(live))


def test_the_namespace_of_the_route_may_be_said_or_not() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 50)
    live["spec"]["rules"][0]["backendRefs"][1]["namespace"] = "default"
    assert drift.untouched(live, own(live))
