"""Holding an object whose weights move: the record in its annotations, and noticing other hands.

A rollout owns the weights of the rules it moves (and, while it mirrors, their filters) and two annotations,
nothing else of the object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from inference_rollouts.core.errors import HoldLost, RouteDrift
from inference_rollouts.core.objects.k8s import annotations_of
from inference_rollouts.core.routing.weights import SPELLINGS, Spelling, at_percent, describe

HELD_BY = "inference-rollouts.dev/held-by"
RECORD = "inference-rollouts.dev/record"

Thing = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A rule that is moved, by JSON pointer, with its weighted list (and filters) as they were found."""

    path: str
    found: tuple[dict[str, Any], ...]
    filters: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What an object remembers of the rollout that holds it.

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
    def from_json(cls, text: str) -> Record:
        """Raises HoldLost when the text is not a record (somebody edited it)."""
        try:
            fields = json.loads(text)
            places = tuple(_place(**place) for place in fields["places"])
            return cls(**{**fields, "places": places})
        except (ValueError, TypeError, KeyError) as error:
            raise HoldLost(
                f"The annotation {RECORD} is unreadable ({error}); the weights are left as they are. "
                "Set them by hand, then remove the annotation."
            ) from error


def _place(path: str, found: list[dict[str, Any]], filters: list[dict[str, Any]] | None) -> Place:
    return Place(path, tuple(found), None if filters is None else tuple(filters))


def rules_of(thing: Thing) -> dict[str, Thing]:
    """The parts of an object that have a weighted list, by JSON pointer, in order."""
    spec = thing.get("spec") or {}
    if thing["kind"] == "InferenceModel":
        return {"/spec": spec}
    return {f"/spec/rules/{i}": rule for i, rule in enumerate(spec.get("rules") or ())}


def entries_of(thing: Thing, rule: Thing) -> list[dict[str, Any]]:
    """A rule's weighted list."""
    return list(rule.get(spelling_of(thing).field) or ())


def place_of(thing: Thing, path: str) -> Place:
    """A rule as it is now."""
    rule = rules_of(thing)[path]
    return Place(path, tuple(entries_of(thing, rule)), tuple(rule["filters"]) if "filters" in rule else None)


def read_record(thing: Thing) -> Record | None:
    """The record of the rollout that holds this object, None when nobody does."""
    text = annotations_of(thing).get(RECORD)
    return Record.from_json(text) if text is not None else None


def held_record(thing: Thing, run: str) -> Record:
    """This run's record, its rules found anew; raises HoldLost or RouteDrift when it may not write."""
    record = read_record(thing)
    holder = annotations_of(thing).get(HELD_BY)
    if record is None or holder != run or record.run != run:
        raise HoldLost(
            f"{_name(thing)} is held by {holder or 'no rollout'}, not by {run}; "
            "this run writes nothing more to it and its weights are as the holder left them."
        )
    return replace(record, places=_locate(thing, record))


def is_held_by(thing: Thing, run: str) -> bool:
    """Whether this run holds the object."""
    return annotations_of(thing).get(HELD_BY) == run


def is_restored(thing: Thing, record: Record) -> bool:
    """Whether every rule that the rollout found is there again, exactly as found."""
    rules = rules_of(thing).values()
    return all(any(_is_as_found(thing, rule, place, record) for rule in rules) for place in record.places)


def _is_as_found(thing: Thing, rule: Thing, place: Place, record: Record) -> bool:
    filters = not record.mirror or list(rule.get("filters") or ()) == list(place.filters or ())
    return filters and entries_of(thing, rule) == list(place.found)


def weights_now(thing: Thing, record: Record) -> str:
    """What the rollout has set, for people."""
    return _described(thing, [expected_entries(thing, place, record) for place in record.places])


def weights_found(thing: Thing, record: Record) -> str:
    """What the rollout found, for people."""
    return _described(thing, [place.found for place in record.places])


def expected_entries(thing: Thing, place: Place, record: Record) -> list[dict[str, Any]]:
    """What a rule's weighted list must be, given what the rollout wrote last."""
    return at_percent(place.found, record.stable, record.canary, record.percent, spelling_of(thing))


def writers(thing: Thing, ours: str) -> list[str]:
    """Field managers other than `ours` that own parts of the object's spec, the latest first."""
    entries = [
        entry
        for entry in thing["metadata"].get("managedFields", ())
        if entry.get("manager") != ours and "f:spec" in entry.get("fieldsV1", {})
    ]
    entries.sort(key=lambda entry: entry.get("time", ""), reverse=True)
    return list(dict.fromkeys(entry["manager"] for entry in entries))


def _locate(thing: Thing, record: Record) -> tuple[Place, ...]:
    """The places as this run left them, even when other rules came or went before them."""
    rules = rules_of(thing)
    wanted = [(place, expected_fields(thing, place, record)) for place in record.places]
    if all(place.path in rules and _looks_like(rules[place.path], fields) for place, fields in wanted):
        return record.places
    located: list[Place] = []
    for place, fields in wanted:
        alike = sum(other == fields for _, other in wanted)
        same = [path for path, rule in rules.items() if _looks_like(rule, fields)]
        if len(same) != alike:
            raise _drift(thing, record)
        located.append(replace(place, path=next(p for p in same if p not in {q.path for q in located})))
    return tuple(located)


def _drift(thing: Thing, record: Record) -> RouteDrift:
    rules = rules_of(thing)
    place = next(
        place
        for place in record.places
        if not _looks_like(rules.get(place.path, {}), expected_fields(thing, place, record))
    )
    rule = rules.get(place.path)
    now = _described(thing, [entries_of(thing, rule)]) if rule else "gone"
    if rule and entries_of(thing, rule) == expected_entries(thing, place, record):
        now += " (but the mirror is gone or changed)"
    others = ", ".join(writers(thing, ours="inference-rollouts")) or "an unknown field manager"
    return RouteDrift(
        f"{_name(thing)} was changed by {others}: its weights are {now} where this rollout had set "
        f"{_described(thing, [expected_entries(thing, place, record)])}. They are left as they are; "
        f"as found they were {_described(thing, [place.found])}."
    )


def expected_fields(thing: Thing, place: Place, record: Record) -> dict[str, Any]:
    """What a rule's fields must be, given what the rollout wrote last: those that it owns now."""
    fields: dict[str, Any] = {spelling_of(thing).field: expected_entries(thing, place, record)}
    if record.mirror:
        fields["filters"] = [*(place.filters or ()), _mirror(place, record)]
    return fields


def _looks_like(rule: Thing, fields: Mapping[str, Any]) -> bool:
    return all(rule.get(key) == value for key, value in fields.items())


def _mirror(place: Place, record: Record) -> dict[str, Any]:
    group = next(entry["group"] for entry in place.found if entry["name"] == record.stable)
    backend = {"group": group, "kind": "InferencePool", "name": record.canary}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": record.mirror}}


def _described(thing: Thing, lists: Sequence[Sequence[Thing]]) -> str:
    return "; ".join(dict.fromkeys(describe(entries, spelling_of(thing)) for entries in lists))


def spelling_of(thing: Thing) -> Spelling:
    """How this kind of object writes weights."""
    return SPELLINGS[thing["kind"]]


def _name(thing: Thing) -> str:
    return f"{thing['kind']} {thing['metadata']['name']}"
