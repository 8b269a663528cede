"""An API server's side of a JSON patch."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject


class TestFailed(Exception):
    """A `test` of a JSON patch did not hold; nothing was written."""

    __test__ = False


class PathMissing(Exception):
    """A JSON patch names a path that the object does not have; nothing was written."""


def apply_patch(obj: K8sObject, patch: Sequence[K8sObject]) -> dict[str, Any]:
    """RFC 6902 on a copy; an empty annotations map vanishes, as in Kubernetes."""
    patched: dict[str, Any] = copy.deepcopy(dict(obj))
    for op in patch:
        _apply(patched, op)
    if not patched["metadata"].get("annotations", True):
        del patched["metadata"]["annotations"]
    patched["metadata"]["resourceVersion"] = str(int(patched["metadata"]["resourceVersion"]) + 1)
    return patched


def _apply(obj: dict[str, Any], op: K8sObject) -> None:
    keys = [key.replace("~1", "/").replace("~0", "~") for key in op["path"].split("/")[1:]]
    parent: Any = obj
    for key in keys[:-1]:
        parent = _child(parent, key, op["path"])
    match op["op"]:
        case "test":
            if _child(parent, keys[-1], op["path"], TestFailed) != op["value"]:
                raise TestFailed(op["path"])
        case "remove":
            _child(parent, keys[-1], op["path"])
            del parent[_key(parent, keys[-1])]
        case "add" if isinstance(parent, list):
            place = len(parent) if keys[-1] == "-" else int(keys[-1])
            parent.insert(place, copy.deepcopy(op["value"]))
        case "add":
            parent[keys[-1]] = copy.deepcopy(op["value"])
        case "replace":
            _child(parent, keys[-1], op["path"])
            parent[_key(parent, keys[-1])] = copy.deepcopy(op["value"])
        case "nothing":  # a test of the object that a mutant left out
            pass
        case other:
            raise AssertionError(f"no operation {other}")


def _key(parent: Any, key: str) -> int | str:
    return int(key) if isinstance(parent, list) else key


def _child(parent: Any, key: str, path: str, error: type[Exception] = PathMissing) -> Any:
    try:
        return parent[_key(parent, key)]
    except (KeyError, IndexError, TypeError, ValueError) as missing:
        raise error(path) from missing
