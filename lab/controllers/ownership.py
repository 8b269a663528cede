"""Owner references and label selectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.kube.client import KubeError
from lab.kube.objects import Obj
from lab.reconcile.store import Store


def owner_reference(owner: Obj) -> Obj:
    """The reference by which `owner` controls another object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference of the controller, or None."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether a LabelSelector (`matchLabels`, `matchExpressions`) selects `labels`; empty selects all."""
    selector, labels = selector or {}, labels or {}
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        return False
    return all(matches_expression(term, labels) for term in selector.get("matchExpressions") or [])


def matches_expression(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether one requirement `{key, operator, values}` holds; ValueError for an unknown operator."""
    value, values = labels.get(term["key"]), term.get("values") or []
    match term["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case unknown:
            raise ValueError(f"unknown operator {unknown!r} in a selector")


async def claim(store: Store, owner: Obj, kind: str, manager: str) -> list[Obj]:
    """The objects of `kind` that `owner` controls, after adopting orphans and releasing strangers."""
    mine = []
    for obj in store[kind].list(owner["metadata"]["namespace"]):
        reference = controller_of(obj)
        fits = matches(owner["spec"]["selector"], obj["metadata"].get("labels"))
        if reference and reference["uid"] == owner["metadata"]["uid"]:
            if fits or obj["metadata"].get("deletionTimestamp"):
                mine.append(obj)
            else:
                await _set_owners(store, obj, _without(obj, owner), manager)
        elif reference is None and fits and not _deleted(obj) and not _deleted(owner):
            owners = [*(obj["metadata"].get("ownerReferences") or []), owner_reference(owner)]
            if adopted := await _set_owners(store, obj, owners, manager):
                mine.append(adopted)
    return mine


def _deleted(obj: Obj) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _without(obj: Obj, owner: Obj) -> list[Obj]:
    uid = owner["metadata"]["uid"]
    return [reference for reference in obj["metadata"]["ownerReferences"] if reference["uid"] != uid]


async def _set_owners(store: Store, obj: Obj, owners: list[Obj], manager: str) -> Obj | None:
    metadata = obj["metadata"]
    guard = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    try:
        return await store.patch(obj, {"metadata": {**guard, "ownerReferences": owners}}, manager)
    except KubeError as error:
        if error.status == 404:
            return None
        raise
