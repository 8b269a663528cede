"""The fields of an object, and who owns them, as server-side apply has it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject

Object = dict[str, Any]
Path = tuple[str, ...]


def leaves(obj: K8sObject, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The fields of an object; a list is one field."""
    for key, value in obj.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        elif (*path, key) != ("metadata", "managedFields"):
            yield (*path, key), value


def merge(live: Object, wanted: K8sObject) -> Object:
    """`live` with all fields of `wanted`."""
    for key, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(live.get(key), dict):
            merge(live[key], value)
        else:
            live[key] = copy.deepcopy(value)
    return live


def drop(obj: Object, path: Path) -> None:
    parent: Any = obj
    for key in path[:-1]:
        parent = parent.get(key, {})
    parent.pop(path[-1], None)


def managed(owners: Mapping[Path, str]) -> list[Object]:
    """`metadata.managedFields`, as far as anybody reads it."""
    fields: dict[str, Object] = {}
    for path, manager in owners.items():
        fields.setdefault(manager, {})[f"f:{path[0]}"] = {}
    at = "2026-01-01T00:00:00Z"
    return [{"manager": who, "time": at, "fieldsV1": parts} for who, parts in fields.items()]
