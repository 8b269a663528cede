"""Holding an object whose weights move: the claim in its annotations, and noticing other hands.

A rollout owns the weights of the rules it moves (and, while it mirrors, their filters) and two annotations,
nothing else of the object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from inference_rollouts.core.errors import ClaimLost, RouteDrift
from inference_rollouts.core.objects.k8s import K8sObject, annotations_of
from inference_rollouts.core.routing.weights import SPELLINGS, Spelling, at_percent, describe

CLAIMED_BY = "inference-rollouts.dev/claimed-by"
CLAIM = "inference-rollouts.dev/claim"


@dataclass(frozen=True, slots=True)
class Place:
    """A rule that is moved, by JSON pointer, with its weighted list (and filters) as they were found."""

    path: str
    found: tuple[dict[str, Any], ...]
    filters: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What an object remembers of the rollout that claims it.

    `places` are as they were before the first write. `percent` is the canary's share of what stable had, as
    the last write set it (at Unix time `since`, for `step`), `mirror` the share that is mirrored to it;
    together they say what the rules must look like now. `committed`: promotion is decided and may only be
    completed.
    """

    run: str
    stable: str
    canary: str
    places: tuple[Place, ...]
    percent: int = 0
    mirror: int = 0
    step: int = 0
    since: float = 0.0
    committed: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Claim:
        """Raises ClaimLost when the text is not a claim (somebody edited it)."""
        try:
            fields = json.loads(text)
            places = tuple(_place(**place) for place in fields["places"])
            return cls(**{**fields, "places": places})
        except (ValueError, TypeError, KeyError) as error:
            raise ClaimLost(
                f"The annotation {CLAIM} is unreadable ({error}); the weights are left as they are. "
                "Set them by hand, then remove the annotation."
            ) from error


def _place(path: str, found: list[dict[str, Any]], filters: list[dict[str, Any]] | None) -> Place:
    return Place(path, tuple(found), None if filters is None else tuple(filters))


def rules_of(obj: K8sObject) -> dict[str, K8sObject]:
    """The parts of an object that have a weighted list, by JSON pointer, in order."""
    spec = obj.get("spec") or {}
    if obj["kind"] == "InferenceModel":
        return {"/spec": spec}
    return {f"/spec/rules/{i}": rule for i, rule in enumerate(spec.get("rules") or ())}


def entries_of(obj: K8sObject, rule: K8sObject) -> list[dict[str, Any]]:
    """A rule's weighted list."""
    return list(rule.get(spelling_of(obj).field) or ())


def place_of(obj: K8sObject, path: str) -> Place:
    """A rule as it is now."""
    rule = rules_of(obj)[path]
    return Place(path, tuple(entries_of(obj, rule)), tuple(rule["filters"]) if "filters" in rule else None)


def read_claim(obj: K8sObject) -> Claim | None:
    """The claim on this object, None when there is none."""
    text = annotations_of(obj).get(CLAIM)
    return Claim.from_json(text) if text is not None else None


def own_claim(obj: K8sObject, run: str) -> Claim:
    """This run's claim, its rules found anew; raises ClaimLost or RouteDrift when it may not write."""
    claim = read_claim(obj)
    holder = annotations_of(obj).get(CLAIMED_BY)
    if claim is None or holder != run or claim.run != run:
        raise ClaimLost(
            f"{_name(obj)} is claimed by {holder or 'no rollout'}, not by {run}; "
            "this run writes nothing more to it and its weights are as they were left."
        )
    return replace(claim, places=_locate(obj, claim))


def is_claimed_by(obj: K8sObject, run: str) -> bool:
    """Whether this run has claimed the object."""
    return annotations_of(obj).get(CLAIMED_BY) == run


def is_restored(obj: K8sObject, claim: Claim) -> bool:
    """Whether every rule that the rollout found is there again, exactly as found."""
    rules = rules_of(obj).values()
    return all(any(_is_as_found(obj, rule, place, claim) for rule in rules) for place in claim.places)


def _is_as_found(obj: K8sObject, rule: K8sObject, place: Place, claim: Claim) -> bool:
    filters = not claim.mirror or list(rule.get("filters") or ()) == list(place.filters or ())
    return filters and entries_of(obj, rule) == list(place.found)


def weights_now(obj: K8sObject, claim: Claim) -> str:
    """What the rollout has set, for people."""
    return _described(obj, [expected_entries(obj, place, claim) for place in claim.places])


def weights_found(obj: K8sObject, claim: Claim) -> str:
    """What the rollout found, for people."""
    return _described(obj, [place.found for place in claim.places])


def expected_entries(obj: K8sObject, place: Place, claim: Claim) -> list[dict[str, Any]]:
    """What a rule's weighted list must be, given what the rollout wrote last."""
    return at_percent(place.found, claim.stable, claim.canary, claim.percent, spelling_of(obj))


def writers(obj: K8sObject, ours: str) -> list[str]:
    """Field managers other than `ours` that own parts of the object's spec, the latest first."""
    entries = [
        entry
        for entry in obj["metadata"].get("managedFields", ())
        if entry.get("manager") != ours and "f:spec" in entry.get("fieldsV1", {})
    ]
    entries.sort(key=lambda entry: entry.get("time", ""), reverse=True)
    return list(dict.fromkeys(entry["manager"] for entry in entries))


def _locate(obj: K8sObject, claim: Claim) -> tuple[Place, ...]:
    """The places as this run left them, even when other rules came or went before them."""
    rules = rules_of(obj)
    wanted = [(place, expected_fields(obj, place, claim)) for place in claim.places]
    if all(place.path in rules and _looks_like(rules[place.path], fields) for place, fields in wanted):
        return claim.places
    located: list[Place] = []
    for place, fields in wanted:
        alike = sum(other == fields for _, other in wanted)
        same = [path for path, rule in rules.items() if _looks_like(rule, fields)]
        if len(same) != alike:
            raise _drift(obj, claim)
        located.append(replace(place, path=next(p for p in same if p not in {q.path for q in located})))
    return tuple(located)


def _drift(obj: K8sObject, claim: Claim) -> RouteDrift:
    rules = rules_of(obj)
    place = next(
        place
        for place in claim.places
        if not _looks_like(rules.get(place.path, {}), expected_fields(obj, place, claim))
    )
    rule = rules.get(place.path)
    now = _described(obj, [entries_of(obj, rule)]) if rule else "gone"
    if rule and entries_of(obj, rule) == expected_entries(obj, place, claim):
        now += " (but the mirror is gone or changed)"
    others = ", ".join(writers(obj, ours="inference-rollouts")) or "an unknown field manager"
    return RouteDrift(
        f"{_name(obj)} was changed by {others}: its weights are {now} where this rollout had set "
        f"{_described(obj, [expected_entries(obj, place, claim)])}. They are left as they are; "
        f"as found they were {_described(obj, [place.found])}."
    )


def expected_fields(obj: K8sObject, place: Place, claim: Claim) -> dict[str, Any]:
    """What a rule's fields must be, given what the rollout wrote last: those that it owns now."""
    fields: dict[str, Any] = {spelling_of(obj).field: expected_entries(obj, place, claim)}
    if claim.mirror:
        fields["filters"] = [*(place.filters or ()), _mirror(place, claim)]
    return fields


def _looks_like(rule: K8sObject, fields: Mapping[str, Any]) -> bool:
    return all(rule.get(key) == value for key, value in fields.items())


def _mirror(place: Place, claim: Claim) -> dict[str, Any]:
    group = next(entry["group"] for entry in place.found if entry["name"] == claim.stable)
    backend = {"group": group, "kind": "InferencePool", "name": claim.canary}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": claim.mirror}}


def _described(obj: K8sObject, lists: Sequence[Sequence[K8sObject]]) -> str:
    return "; ".join(dict.fromkeys(describe(entries, spelling_of(obj)) for entries in lists))


def spelling_of(obj: K8sObject) -> Spelling:
    """How this kind of object writes weights."""
    return SPELLINGS[obj["kind"]]


def _name(obj: K8sObject) -> str:
    return f"{obj['kind']} {obj['metadata']['name']}"
