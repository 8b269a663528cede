"""The patches by which a rollout claims an object, moves its weights and lets it go.

Every one is a JSON patch (RFC 6902) that tests what was read before it changes anything, so a write that
races with somebody else's fails as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, annotations_of
from inference_rollouts.core.routing.claim import (
    CLAIM,
    CLAIMED_BY,
    Claim,
    Place,
    expected_fields,
    rules_of,
    spelling_of,
)

Patch = list[dict[str, Any]]


def attach_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Claim the object with its weights as found, the canary at weight 0 where that is legal: all at once.

    The test of resourceVersion is the fence: a JSON patch cannot test that nobody claims the object, so it
    tests that nobody wrote since it was read and was free.
    """
    version = obj["metadata"]["resourceVersion"]
    start: Patch = [] if annotations_of(obj) else [_add("/metadata/annotations", {})]
    return [
        _test("/metadata/resourceVersion", version),
        *_unchanged(obj, claim),
        *start,
        _add(_annotation_path(CLAIMED_BY), claim.run),
        _add(_annotation_path(CLAIM), claim.to_json()),
        *_set_rules(obj, claim),
    ]


def shift_patch(obj: K8sObject, claim: Claim, percent: int, step: int, now: float, mirror: int = 0) -> Patch:
    """Give the canary `percent` % and remember it, if the object is still as this run left it."""
    moved = replace(claim, percent=percent, mirror=mirror, step=step, since=now)
    return [*_rewrite(obj, claim, moved), *_set_rules(obj, moved, claim.mirror)]


def commit_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Remember that promotion is decided."""
    return _rewrite(obj, claim, replace(claim, committed=True))


def promote_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Let the object go with its weights as they are, if they are still as this run set them."""
    return [*_still_ours(obj, claim), *release_patch(obj)]


def restore_patch(obj: K8sObject, claim: Claim) -> Patch:
    """Put the rules back exactly as found and let the object go."""
    field = spelling_of(obj).field
    back = [
        op
        for place in claim.places
        for op in (
            _replace(f"{place.path}/{field}", list(place.found)),
            *(_set_filters(place, place.filters) if claim.mirror else ()),
        )
    ]
    return [*_still_ours(obj, claim), *back, *release_patch(obj)]


def release_patch(obj: K8sObject) -> Patch:
    """Remove our annotations; the object keeps whatever weights it has."""
    ours = [key for key in (CLAIMED_BY, CLAIM) if key in annotations_of(obj)]
    if ours and len(ours) == len(annotations_of(obj)):
        return [{"op": "remove", "path": "/metadata/annotations"}]
    return [{"op": "remove", "path": _annotation_path(key)} for key in ours]


def _set_rules(obj: K8sObject, claim: Claim, mirrored: int = 0) -> Iterator[dict[str, Any]]:
    """The rules as `claim` says; `mirrored` is what they mirror now."""
    for place in claim.places:
        fields = expected_fields(obj, place, claim)
        filters = fields.pop("filters", None)
        for key, value in fields.items():
            yield _replace(f"{place.path}/{key}", value)
        if filters is not None or mirrored:
            yield from _set_filters(place, place.filters if filters is None else filters)


def _set_filters(place: Place, filters: Sequence[dict[str, Any]] | None) -> Iterator[dict[str, Any]]:
    path = f"{place.path}/filters"
    yield {"op": "remove", "path": path} if filters is None else _add(path, list(filters))


def _rewrite(obj: K8sObject, claim: Claim, changed: Claim) -> Patch:
    return [*_still_ours(obj, claim), _add(_annotation_path(CLAIM), changed.to_json())]


def _still_ours(obj: K8sObject, claim: Claim) -> Patch:
    claimed = [_test(_annotation_path(key), annotations_of(obj)[key]) for key in (CLAIMED_BY, CLAIM)]
    return [*_unchanged(obj, claim), *claimed]


def _unchanged(obj: K8sObject, claim: Claim) -> Patch:
    rules = rules_of(obj)
    return [
        _test("/metadata/uid", obj["metadata"]["uid"]),
        *(_test(place.path, rules[place.path]) for place in claim.places),
    ]


def _test(path: str, value: Any) -> dict[str, Any]:
    return {"op": "test", "path": path, "value": value}


def _add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def _annotation_path(key: str) -> str:
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
