"""The patches by which a rollout holds an object, moves its weights and lets it go.

Every one is a JSON patch (RFC 6902) that tests what was read before it changes anything, so a write that
races with somebody else's fails as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from inference_rollouts.core.objects.k8s import annotations_of
from inference_rollouts.core.routing.claim import (
    HELD_BY,
    RECORD,
    Place,
    Record,
    Thing,
    expected_fields,
    rules_of,
    spelling_of,
)

Patch = list[dict[str, Any]]


def attach_patch(thing: Thing, record: Record) -> Patch:
    """Hold the object and record its weights, adding the canary at weight 0 where that is legal: all at once.

    The test of resourceVersion is the fence: a JSON patch cannot test that nobody holds the object, so it
    tests that nobody wrote since it was read and found free.
    """
    version = thing["metadata"]["resourceVersion"]
    start: Patch = [] if annotations_of(thing) else [_add("/metadata/annotations", {})]
    return [
        _test("/metadata/resourceVersion", version),
        *_unchanged(thing, record),
        *start,
        _add(_annotation_path(HELD_BY), record.run),
        _add(_annotation_path(RECORD), record.to_json()),
        *_set_rules(thing, record),
    ]


def shift_patch(thing: Thing, record: Record, percent: int, step: int, now: float, mirror: int = 0) -> Patch:
    """Give the canary `percent` % and remember it, if the object is still as this run left it."""
    moved = replace(record, percent=percent, mirror=mirror, step=step, since=now)
    return [*_rewrite(thing, record, moved), *_set_rules(thing, moved, record.mirror)]


def commit_patch(thing: Thing, record: Record) -> Patch:
    """Remember that promotion is decided."""
    return _rewrite(thing, record, replace(record, committed=True))


def promote_patch(thing: Thing, record: Record) -> Patch:
    """Let the object go with its weights as they are, if they are still as this run set them."""
    return [*_still_ours(thing, record), *release_patch(thing)]


def restore_patch(thing: Thing, record: Record) -> Patch:
    """Put the rules back exactly as found and let the object go."""
    field = spelling_of(thing).field
    back = [
        op
        for place in record.places
        for op in (
            _replace(f"{place.path}/{field}", list(place.found)),
            *(_set_filters(place, place.filters) if record.mirror else ()),
        )
    ]
    return [*_still_ours(thing, record), *back, *release_patch(thing)]


def release_patch(thing: Thing) -> Patch:
    """Remove our annotations; the object keeps whatever weights it has."""
    ours = [key for key in (HELD_BY, RECORD) if key in annotations_of(thing)]
    if ours and len(ours) == len(annotations_of(thing)):
        return [{"op": "remove", "path": "/metadata/annotations"}]
    return [{"op": "remove", "path": _annotation_path(key)} for key in ours]


def _set_rules(thing: Thing, record: Record, mirrored: int = 0) -> Iterator[dict[str, Any]]:
    """The rules as `record` says; `mirrored` is what they mirror now."""
    for place in record.places:
        fields = expected_fields(thing, place, record)
        filters = fields.pop("filters", None)
        for key, value in fields.items():
            yield _replace(f"{place.path}/{key}", value)
        if filters is not None or mirrored:
            yield from _set_filters(place, place.filters if filters is None else filters)


def _set_filters(place: Place, filters: Sequence[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    path = f"{place.path}/filters"
    yield {"op": "remove", "path": path} if filters is None else _add(path, list(filters))


def _rewrite(thing: Thing, record: Record, changed: Record) -> Patch:
    return [*_still_ours(thing, record), _add(_annotation_path(RECORD), changed.to_json())]


def _still_ours(thing: Thing, record: Record) -> Patch:
    held = [_test(_annotation_path(key), annotations_of(thing)[key]) for key in (HELD_BY, RECORD)]
    return [*_unchanged(thing, record), *held]


def _unchanged(thing: Thing, record: Record) -> Patch:
    rules = rules_of(thing)
    return [
        _test("/metadata/uid", thing["metadata"]["uid"]),
        *(_test(place.path, rules[place.path]) for place in record.places),
    ]


def _test(path: str, value: Any) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def _annotation_path(key: str) -> str:
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
