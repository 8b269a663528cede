"""What differs between two objects, one line a field, as `diff` writes it."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, fields_of
from inference_rollouts.core.objects.secret_words import without_secrets

SERVERS = frozenset(
    {"managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"}
)
"""The fields of an object's metadata that the API server sets."""


def changes(before: K8sObject | None, after: K8sObject) -> list[str]:
    """Lines `- field: value` and `+ field: value`; of an object that is not there yet, all of its fields.

    Values that may be secret are not shown.
    """
    old, new = (dict(fields_of(_wanted(obj))) if obj else {} for obj in (before, after))
    was, now = (dict(fields_of(without_secrets(_wanted(obj)))) if obj else {} for obj in (before, after))
    lines = []
    for field in dict.fromkeys([*old, *new]):
        if old.get(field) == new.get(field):
            continue
        lines += [f"- {field}: {was[field]}"] if field in old else []
        lines += [f"+ {field}: {now[field]}"] if field in new else []
    return lines


def _wanted(obj: K8sObject) -> dict[str, Any]:
    """An object without what the API server and controllers say of it."""
    meta = {key: value for key, value in obj["metadata"].items() if key not in SERVERS}
    return {key: meta if key == "metadata" else value for key, value in obj.items() if key != "status"}
