"""Holding an object: every patch is guarded, whatever it was is found again, foreign hands are noticed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimLost, RouteDrift, RouteRefused
from inference_rollouts.core.routing import claim as claims
from inference_rollouts.core.routing import drift, patches, rules
from inference_rollouts.core.routing.claim import Claim, Ending, Owner, Phase, read_ending
from inference_rollouts.core.routing.control import command_of, commanded
from inference_rollouts.core.routing.weights import MAX_WEIGHT
from tests.support.claims import RUN, TOKEN, attached, claim_on, ending, own, restored, shifted
from tests.support.json_patch import TestFailed, apply_patch
from tests.support.routes import ref, rewrite, route, service


def noted(live: Any) -> int:
    """The bytes of all annotations."""
    return sum(len(f"{key}{value}".encode()) for key, value in live["metadata"]["annotations"].items())


def refs(live: Any, rule: Any = 0) -> Any:
    return [(r["name"], r.get("weight")) for r in live["spec"]["rules"][rule]["backendRefs"]]


def test_attaching_records_the_weights_and_moves_nothing() -> None:
    live = attached(route([ref("llm-pool")]))
    assert refs(live) == [("llm-pool", None), ("new", 0)]
    [place] = own(live).places
    assert (place.path, place.found) == ("/spec/rules/0", (ref("llm-pool"),))


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
def test_a_restored_route_is_exactly_as_found(rules: Any, annotations: Any) -> None:
    before = route(*rules, annotations=annotations)
    live = attached(before)
    for step, percent in enumerate((5, 50, 100), start=1):
        live = shifted(live, percent, step)
    after = restored(live)
    assert after["spec"] == before["spec"]
    kept = dict(after["metadata"]["annotations"])
    last = read_ending(after)
    assert last is not None
    assert last.model_dump() == ending(own(live)).model_dump()
    del kept[claims.ENDING]
    assert kept == (before["metadata"].get("annotations") or {})


def test_all_rules_that_name_the_stable_pool_move_in_one_patch() -> None:
    live = shifted(attached(route([ref("llm-pool")], [service("web")], [ref("llm-pool", 3)])), 20)
    moved = [("llm-pool", 80), ("new", 20)]
    assert [refs(live, rule) for rule in range(3)] == [moved, [("web", None)], moved]


def test_promotion_keeps_the_weights_and_lets_the_route_go() -> None:
    live = shifted(attached(route([ref("llm-pool")])), 100)
    committed = apply_patch(live, patches.commit_patch(live, own(live)))
    assert own(committed).committed
    for held in (live, committed):
        last = ending(own(held), Ending.PROMOTED)
        after = apply_patch(held, patches.promote_patch(held, own(held), last))
        assert refs(after) == [("llm-pool", 0), ("new", 100)]
        assert claims.read_claim(after) is None
        assert claims.ended(after, TOKEN) is Ending.PROMOTED


def test_other_rules_may_come_and_go_meanwhile() -> None:
    live = shifted(attached(route([ref("llm-pool")], [ref("llm-pool")])), 5)
    live["spec"]["rules"].insert(0, {"backendRefs": [service("web")]})
    live["spec"]["rules"].insert(2, {"backendRefs": [service("web")]})
    assert [each.path for each in drift.in_order(live, own(live))] == ["/spec/rules/1", "/spec/rules/3"]
    after = restored(live)
    assert [refs(after, rule)[0] for rule in range(4)] == [("web", None), ("llm-pool", None)] * 2


def test_a_rule_that_went_is_drift() -> None:
    live = shifted(attached(route([ref("llm-pool")], [ref("llm-pool")])), 5)
    del live["spec"]["rules"][1]
    with pytest.raises(RouteDrift, match="gone"):
        own(live)


def test_a_write_between_reading_and_patching_makes_the_patch_fail() -> None:
    live = attached(route([service("web")], [ref("llm-pool")]))
    claim = own(live)
    patch = copy.deepcopy(patches.shift_patch(live, claim, claim.with_(percent=5, step=1)))
    live["spec"]["rules"][1]["backendRefs"][0]["weight"] = 7
    with pytest.raises(TestFailed):
        apply_patch(live, patch)


def test_a_route_that_was_written_since_it_was_read_cannot_be_attached_to() -> None:
    live = route([ref("llm-pool")])
    patch = patches.attach_patch(live, claim_on(live))
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
        own(live)


def test_somebody_else_putting_the_weights_back_counts_as_restored() -> None:
    before = route([ref("llm-pool")])
    live = shifted(attached(before), 5)
    claim = own(live)
    live["spec"] = before["spec"]
    assert drift.is_as_found(live, claim)
    assert claims.read_claim(apply_patch(live, patches.release_patch(live, ending(claim)))) is None


def test_rules_are_too_large_to_be_claimed_but_no_claim_to_go_back() -> None:
    small = route([ref("llm-pool")])
    spare = claims.LIMIT - len(claim_on(small).to_json().encode())
    large = route([ref("llm-pool") | {"x": "x" * (spare - len(',"x":""'))}])
    live = attached(large)
    abort = command_of("abort", "anna", "it rambles", [own(live)], 1000.0)
    live = apply_patch(live, patches.command_patch(live, commanded(own(live), abort)))
    assert own(live).phase is Phase.RETURNING
    large["spec"]["rules"][0]["backendRefs"][0]["x"] += "x"
    with pytest.raises(RouteRefused, match="a rule of its own"):
        attached(large)


def test_what_others_have_noted_leaves_room_for_a_claim_that_grows() -> None:
    """The cluster takes 256 KiB of annotations, and refuses every write that goes back beyond them."""
    bare = route([ref("llm-pool")])
    spare = 2 * claims.LIMIT - claims.ROOM - len(claim_on(bare).to_json().encode()) - len("note")
    attached(route([ref("llm-pool")], annotations={"note": "x" * spare}))
    with pytest.raises(RouteRefused, match="too little room"):
        attached(route([ref("llm-pool")], annotations={"note": "x" * (spare + 1)}))


@pytest.mark.parametrize("how", Ending)
@pytest.mark.parametrize("letter", ["\U0001f600", "\x01"])
def test_that_room_is_enough_for_all_that_people_may_command(letter: str, how: Ending) -> None:
    """Each names itself, and says why, at the greatest length; in JSON a control character takes six."""
    bare = route([ref("llm-pool")])
    spare = 2 * claims.LIMIT - claims.ROOM - len(claim_on(bare).to_json().encode()) - len("note")
    live = attached(route([ref("llm-pool")], annotations={"note": "x" * spare}))
    most = (letter * claims.LONGEST_WHO, letter * claims.LONGEST_WHY)
    for number in range(claims.COMMANDS_KEPT + 2):
        what = "resume" if number % 2 else "pause"
        command = command_of(what, *most, [own(live)], 1000.0, f"rollout_control/{'r' * 250}")
        live = apply_patch(live, patches.command_patch(live, commanded(own(live), command)))
        assert noted(live) <= 2 * claims.LIMIT
    last = patches.ending_of(own(live), how, 2000.0, letter * 2000)
    assert noted(apply_patch(live, patches.restore_patch(live, own(live), last))) <= 2 * claims.LIMIT


@pytest.mark.parametrize("holder", [None, "rollout_llm/other"])
def test_only_the_holder_may_write(holder: Any) -> None:
    live = attached(route([ref("llm-pool")]))
    if holder is None:
        del live["metadata"]["annotations"]
    else:
        claim = own(live).with_(token="another", owner=Owner(run=holder))
        live["metadata"]["annotations"][claims.CLAIM] = claim.to_json()
    with pytest.raises(ClaimLost, match=f"claimed by {holder or 'no rollout'}, not by this run"):
        own(live)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "not json", '{"places": null}', '{"run": 1, "places": [], "x": 1}', '{"places": [1]}'],
)
def test_an_edited_record_is_refused_not_guessed(text: Any) -> None:
    live = attached(route([ref("llm-pool")]))
    live["metadata"]["annotations"][claims.CLAIM] = text
    with pytest.raises(ClaimLost, match="unreadable"):
        own(live)


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
def test_targets_of_an_alias_move_and_come_back(before: Any, path: Any, field: Any) -> None:
    claim = Claim(
        token=TOKEN,
        owner=Owner(run=RUN),
        stable="old",
        canary="new",
        steps=3,
        places=(claims.place_of(before, path),),
    )
    live = apply_patch(before, patches.attach_patch(before, claim))
    assert live["spec"] == before["spec"], "weight 0 is illegal, so attaching adds no target"
    for step, percent in enumerate((5, 50, 100), start=1):
        live = shifted(live, percent, step)
    targets = rules.entries_of(live, rules.rules_of(live)[path])
    assert [entry["weight"] for entry in targets] == [100]
    assert rules.rules_of(live)[path][field] == targets
    assert restored(live)["spec"] == before["spec"]


class TestWhatStandsBeside:
    """Others may put backends into our rule; an alarm moves our own two whatever they did."""

    def idle(self, live: Any) -> Any:
        live["spec"]["rules"][0]["backendRefs"].append(ref("idle", 0))

    def test_a_backend_without_weight_is_no_drift_and_stays(self) -> None:
        live = shifted(attached(route([ref("llm-pool")])), 50)
        self.idle(live)
        live = shifted(live, 100, 2)
        assert refs(live) == [("llm-pool", 0), ("new", 100), ("idle", 0)]
        assert refs(restored(live)) == [("llm-pool", None), ("idle", 0)]

    def test_an_alarm_takes_the_canary_off_under_drift(self) -> None:
        live = shifted(attached(route([ref("llm-pool")])), 50)
        live["spec"]["rules"][0]["backendRefs"].append(ref("theirs", 20))
        claim = drift.own_claim(live, TOKEN)
        live = apply_patch(live, patches.retreat_patch(live, claim))
        assert refs(live) == [("llm-pool", None), ("new", 0), ("theirs", 20)]
        assert refs(restored(live)) == [("llm-pool", None), ("theirs", 20)]

    def test_an_alarm_leaves_stable_what_both_had_when_somebody_set_other_weights(self) -> None:
        live = shifted(attached(route([ref("llm-pool", 60), ref("other", 40)])), 50)
        live["spec"]["rules"][0]["backendRefs"][1]["weight"] = 7
        claim = drift.own_claim(live, TOKEN)
        live = apply_patch(live, patches.retreat_patch(live, claim))
        assert refs(live) == [("llm-pool", 300), ("other", 7), ("new", 0)]

    def test_an_alarm_gives_no_more_than_a_weight_may_be(self) -> None:
        live = shifted(attached(route([ref("llm-pool")])), 50)
        for each in live["spec"]["rules"][0]["backendRefs"]:
            each["weight"] = 600_000
        live = apply_patch(live, patches.retreat_patch(live, drift.own_claim(live, TOKEN)))
        assert refs(live) == [("llm-pool", MAX_WEIGHT), ("new", 0)]
        assert refs(restored(live)) == [("llm-pool", MAX_WEIGHT)]

    @pytest.mark.parametrize("name", ["llm-pool", "new", "other"])
    @pytest.mark.parametrize("place", [0, 3])
    def test_a_backend_that_is_listed_twice_is_drift(self, name: str, place: int) -> None:
        live = shifted(attached(route([ref("llm-pool", 60), ref("other", 40)])), 50)
        backends = live["spec"]["rules"][0]["backendRefs"]
        backends.insert(place, next(dict(each) for each in backends if each["name"] == name))
        with pytest.raises(RouteDrift, match=rf"(?s){name} \d+.*{name} \d+.* where this rollout had set"):
            own(live)

    @pytest.mark.parametrize("weight", [5, 50])
    @pytest.mark.parametrize("place", [0, 2])
    def test_an_alarm_takes_a_canary_off_that_is_listed_twice(self, place: int, weight: int) -> None:
        live = shifted(attached(route([ref("llm-pool")])), 50)
        live["spec"]["rules"][0]["backendRefs"].insert(place, ref("new", weight))
        claim = drift.own_claim(live, TOKEN)
        kept = apply_patch(live, patches.retreat_patch(live, claim, kept=20))
        assert dict(refs(kept))["new"] == round((100 + weight) * 0.2)
        assert len(refs(kept)) == 2
        live = apply_patch(live, patches.retreat_patch(live, claim))
        assert dict(refs(live)) == {"llm-pool": 100 + weight, "new": 0}
        assert len(refs(live)) == 2
        assert refs(restored(live)) == [("llm-pool", 100 + weight)]

    @pytest.mark.parametrize("place", [0, 3])
    @pytest.mark.parametrize("name", ["llm-pool", "new", "other"])
    def test_an_idle_second_entry_gets_nothing_with_the_next_share(self, name: str, place: int) -> None:
        live = shifted(attached(route([ref("llm-pool", 60), ref("other", 40)])), 50)
        live["spec"]["rules"][0]["backendRefs"].insert(place, ref(name, 0))
        live = shifted(live, 100, 2)
        own(live)
        assert sorted(each for each in refs(live) if each[1]) == [("new", 300), ("other", 200)]
        back = restored(live)
        assert sorted(each for each in refs(back) if each[1]) == [("llm-pool", 60), ("other", 40)]

    def test_other_fields_of_our_entries_stay_as_they_are_now(self) -> None:
        live = shifted(attached(route([ref("llm-pool")])), 50)
        live["spec"]["rules"][0]["backendRefs"][0]["port"] = 8000
        assert restored(live)["spec"]["rules"][0]["backendRefs"] == [{**ref("llm-pool"), "port": 8000}]


class TestTheFence:
    def test_a_new_epoch_stops_every_older_write(self) -> None:
        live = shifted(attached(route([ref("llm-pool")])), 5)
        claim = own(live)
        raise_ = patches.shift_patch(live, claim, claim.with_(percent=50, step=2))
        live = apply_patch(live, patches.return_patch(live, claim))
        assert (own(live).epoch, own(live).phase) == (2, Phase.RETURNING)
        with pytest.raises(TestFailed):
            apply_patch(live, raise_)

    def test_what_a_newer_version_wrote_is_kept(self) -> None:
        live = attached(route([ref("llm-pool")]))
        text = live["metadata"]["annotations"][claims.CLAIM].replace(
            '"schema":1', '"schema":2,"later":{"x":[1]}'
        )
        live["metadata"]["annotations"][claims.CLAIM] = text
        moved = shifted(live, 5)
        assert own(moved).model_extra == {"later": {"x": [1]}}
        assert own(moved).schema_ == 2

    @pytest.mark.parametrize(
        "edit",
        [
            ('"found":[{', '"found":[],"x":[{'),
            ('"percent":0', '"percent":"50"'),
            ('"places":[', '"places":[],"x":['),
            ('"percent":0', '"percent":101'),
            ('"epoch":1', '"epoch":true'),
            ('"path":"/spec/rules/0"', '"path":"/metadata"'),
            ('"since":0.0', '"since":1e400'),
            ('"phase":"progressing"', '"phase":"flying"'),
        ],
    )
    def test_an_edited_claim_that_is_still_json_is_refused(self, edit: Any) -> None:
        live = attached(route([ref("llm-pool")]))
        text = live["metadata"]["annotations"][claims.CLAIM]
        assert edit[0] in text
        live["metadata"]["annotations"][claims.CLAIM] = text.replace(*edit)
        with pytest.raises(ClaimLost, match="unreadable"):
            own(live)
