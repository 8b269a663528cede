"""Claiming an object: every patch is guarded, whatever it was is found again, foreign hands are noticed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.routing import claim as claims
from inference_rollouts.core.routing import patches
from inference_rollouts.core.routing.claim import Claim, Place
from inference_rollouts.core.routing.route import select_places
from tests.support.claims import RUN, attached, restored, shifted
from tests.support.json_patch import TestFailed, apply_patch
from tests.support.routes import ref, rewrite, route, service


def refs(live: dict[str, Any], rule: int = 0) -> list[Any]:
    return [(r["name"], r.get("weight")) for r in live["spec"]["rules"][rule]["backendRefs"]]


def test_attaching_remembers_the_weights_and_moves_nothing() -> None:
    live = attached(route([ref("llm-pool")]))
    assert refs(live) == [("llm-pool", None), ("new", 0)]
    assert claims.own_claim(live, RUN).places == (Place("/spec/rules/0", (ref("llm-pool"),)),)


@pytest.mark.parametrize("annotations", [None, {"owner": "team-a"}])
@pytest.mark.parametrize(
    "rules",
    [
        ([ref("x", 0), ref("llm-pool")], [service("web", 3)]),
        ([ref("llm-pool", 1), ref("new", 0)],),
        ([ref("llm-pool", 60), ref("other", 40)],),
        ([ref("llm-pool")], [service("web")], [ref("llm-pool"), ref("other")]),
    ],
)
def test_a_restored_route_is_exactly_as_found(
    rules: tuple[Any, ...], annotations: dict[str, Any] | None
) -> None:
    before = route(*rules, annotations=annotations)
    live = attached(before)
    for step, percent in enumerate((5, 50, 100), start=1):
        live = shifted(live, percent, step)
    after = restored(live)
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")


def test_all_rules_that_name_the_stable_pool_move_in_one_patch() -> None:
    live = shifted(attached(route([ref("llm-pool")], [service("web")], [ref("llm-pool", 3)])), 20)
    moved = [("llm-pool", 80), ("new", 20)]
    assert [refs(live, rule) for rule in range(3)] == [moved, [("web", None)], moved]


@pytest.mark.parametrize("filters", [None, [], [{"type": "RequestHeaderModifier"}]])
def test_mirroring_adds_a_filter_and_leaves_the_filters_as_found(filters: list[Any] | None) -> None:
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
    assert refs(live) == [("llm-pool", None), ("new", 0)]
    assert restored(live)["spec"] == before["spec"]
    later = shifted(live, 5, 2)
    assert later["spec"]["rules"][0].get("filters") == filters
    assert restored(later)["spec"] == before["spec"]


def test_a_mirror_that_somebody_changed_is_drift() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 0, 1, mirror=20)
    live["spec"]["rules"][0]["filters"][0]["requestMirror"]["percent"] = 100
    with pytest.raises(RouteDrift, match="the mirror is gone or changed"):
        claims.own_claim(live, RUN)


def test_weights_put_back_beside_a_mirror_are_not_all_that_was_found() -> None:
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 0, 1, mirror=20)
    claim = claims.own_claim(live, RUN)
    live["spec"]["rules"][0]["backendRefs"] = before["spec"]["rules"][0]["backendRefs"]
    assert not claims.is_restored(live, claim)
    del live["spec"]["rules"][0]["filters"]
    assert claims.is_restored(live, claim)


def test_promotion_keeps_the_weights_and_lets_the_route_go() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 100)
    committed = apply_patch(live, patches.commit_patch(live, claims.own_claim(live, RUN)))
    assert claims.own_claim(committed, RUN).committed
    for claimed in (live, committed):
        after = apply_patch(claimed, patches.promote_patch(claimed, claims.own_claim(claimed, RUN)))
        assert refs(after) == [("llm-pool", 0), ("new", 100)]
        assert "annotations" not in after["metadata"]


def test_other_rules_may_come_and_go_meanwhile() -> None:
    live = shifted(attached(route([ref("llm-pool")], [ref("llm-pool")])), 5)
    live["spec"]["rules"].insert(0, {"backendRefs": [service("web")]})
    live["spec"]["rules"].insert(2, {"backendRefs": [service("web")]})
    assert [place.path for place in claims.own_claim(live, RUN).places] == ["/spec/rules/1", "/spec/rules/3"]
    after = restored(live)
    assert [refs(after, rule)[0] for rule in range(4)] == [("web", None), ("llm-pool", None)] * 2


def test_a_rule_that_went_is_drift() -> None:
    live = shifted(attached(route([ref("llm-pool")], [ref("llm-pool")])), 5)
    del live["spec"]["rules"][1]
    with pytest.raises(RouteDrift, match="gone"):
        claims.own_claim(live, RUN)


def test_a_write_between_reading_and_patching_makes_the_patch_fail() -> None:
    live = attached(route([service("web")], [ref("llm-pool")]))
    patch = copy.deepcopy(patches.shift_patch(live, claims.own_claim(live, RUN), 5, 1, 1000.0))
    live["spec"]["rules"][1]["backendRefs"][0]["weight"] = 7
    with pytest.raises(TestFailed):
        apply_patch(live, patch)


def test_a_route_that_was_written_since_it_was_read_cannot_be_attached_to() -> None:
    live = route([ref("llm-pool")])
    patch = patches.attach_patch(live, Claim(RUN, "llm-pool", "new", select_places(live, "llm-pool")))
    live["metadata"]["resourceVersion"] = "11"
    with pytest.raises(TestFailed):
        apply_patch(live, patch)


def test_foreign_weights_are_drift_and_name_who_wrote() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 5)
    live["spec"]["rules"][0]["backendRefs"][0]["weight"] = 50
    live["metadata"]["managedFields"] = [
        {"manager": "inference-rollouts", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "kubectl-edit", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "argocd", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "gateway", "time": "2026-01-04T00:00:00Z", "fieldsV1": {"f:status": {}}},
    ]
    with pytest.raises(RouteDrift, match=r"kubectl-edit, argocd.*llm-pool 50, new 5.*llm-pool 95, new 5"):
        claims.own_claim(live, RUN)


def test_somebody_else_putting_the_weights_back_counts_as_restored() -> None:
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 5)
    claim = claims.own_claim(live, RUN)
    live["spec"] = before["spec"]
    assert claims.is_restored(live, claim)
    assert "annotations" not in apply_patch(live, patches.release_patch(live))["metadata"]


@pytest.mark.parametrize("claimant", [None, "rollout_llm/other"])
def test_only_who_claims_it_may_write(claimant: str | None) -> None:
    live = attached(route([ref("llm-pool")]))
    if claimant is None:
        del live["metadata"]["annotations"]
    else:
        live["metadata"]["annotations"][claims.CLAIMED_BY] = claimant
    with pytest.raises(ClaimLost, match="not by rollout_llm/r1"):
        claims.own_claim(live, RUN)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "not json", '{"places": null}', '{"run": 1, "places": [], "x": 1}', '{"places": [1]}'],
)
def test_an_edited_claim_is_refused_not_guessed(text: str) -> None:
    live = attached(route([ref("llm-pool")]))
    live["metadata"]["annotations"][claims.CLAIM] = text
    with pytest.raises(ClaimLost, match="unreadable"):
        claims.own_claim(live, RUN)


@pytest.mark.parametrize(
    ("before", "path", "field"),
    [
        (rewrite("food-review", "old"), "/spec/rules/0", "targets"),
        (
            {
                "kind": "InferenceModel",
                "metadata": rewrite("x", "old")["metadata"],
                "spec": {"modelName": "x", "poolRef": {"name": "p"}, "targetModels": [{"name": "old"}]},
            },
            "/spec",
            "targetModels",
        ),
    ],
)
def test_targets_of_an_alias_move_and_come_back(before: Any, path: str, field: str) -> None:
    claim = Claim(RUN, "old", "new", (claims.place_of(before, path),))
    live = apply_patch(before, patches.attach_patch(before, claim))
    assert live["spec"] == before["spec"], "weight 0 is illegal, so attaching adds no target"
    for step, percent in enumerate((5, 50, 100), start=1):
        live = shifted(live, percent, step)
    targets = claims.entries_of(live, claims.rules_of(live)[path])
    assert [entry["weight"] for entry in targets] == [100]
    assert claims.rules_of(live)[path][field] == targets
    assert restored(live)["spec"] == before["spec"]
