"""Kubernetes objects as values: mappings as the API server sends them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

K8sObject = Mapping[str, Any]
"""An object, or a part of one, as parsed from JSON."""


LONGEST_NAME = 253
"""Characters of most objects' names: they are DNS subdomains."""


def group_of(obj: K8sObject) -> str:
    """The API group of an object; empty for the core group's `v1`."""
    return str(obj["apiVersion"]).partition("/")[0] if "/" in str(obj["apiVersion"]) else ""


def title_of(obj: K8sObject) -> str:
    """Kind and name, as sentences name an object."""
    return f"{obj['kind']} {obj['metadata']['name']}"


def event_name(about: str, mark: str) -> str:
    """The name of an Event about an object of this name, whose own may be as long as a name can be."""
    return f"{about[: LONGEST_NAME - len(mark) - 1].rstrip('-.')}.{mark}"


def annotations_of(obj: K8sObject) -> Mapping[str, str]:
    """Never None."""
    return obj["metadata"].get("annotations") or {}


def labels_of(obj: K8sObject) -> Mapping[str, str]:
    """Never None."""
    return obj["metadata"].get("labels") or {}


def part(obj: Any, *keys: str) -> K8sObject:
    """The object at these keys, one inside the other; empty where there is none."""
    for key in keys:
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj if isinstance(obj, Mapping) else {}


def parts(obj: Any, *keys: str) -> list[K8sObject]:
    """The objects of the list at these keys; what else stands there, or in place of the list, is nothing."""
    values = part(obj, *keys[:-1]).get(keys[-1])
    return [each for each in values if isinstance(each, Mapping)] if isinstance(values, list | tuple) else []


def fields_of(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field that holds no others, by its path: `spec.ports[0].port`."""
    match value:
        case Mapping() if value:
            for key, each in value.items():
                yield from fields_of(each, f"{path}.{key}" if path else str(key))
        case Sequence() if value and not isinstance(value, str):
            for place, each in enumerate(value):
                yield from fields_of(each, f"{path}[{place}]")
        case _:
            yield path, value


def conditions_of(obj: Any) -> dict[str, K8sObject]:
    """The conditions of an object's status, by their types."""
    return {str(each.get("type")): each for each in parts(obj, "status", "conditions")}


def moment(text: Any) -> float | None:
    """A Kubernetes timestamp in Unix seconds; None where there is none."""
    try:
        value = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def created_at(obj: K8sObject) -> float | None:
    """When an object was created, in Unix seconds; None where it does not say."""
    return moment(part(obj, "metadata").get("creationTimestamp"))
