"""Kubernetes Events: what is told of an object, the newest first."""

from __future__ import annotations

from collections.abc import Iterable

from inference_rollouts.core.objects.k8s import K8sObject, part


def told_at(event: K8sObject) -> tuple[str, int]:
    """When an Event was told last: to compare it with others alone.

    Timestamps are whole seconds; among equal ones the last that was written is the newest.
    """
    version = str(part(event, "metadata").get("resourceVersion", ""))
    last = event.get("lastTimestamp") or part(event, "series").get("lastObservedTime")
    return str(last or event.get("eventTime") or ""), int(version) if version.isdecimal() else 0


def words_of(event: K8sObject) -> str:
    """An Event as a part of a sentence."""
    return f"{event.get('reason')}: {' '.join(str(event.get('message') or '').split())}".rstrip(".: ")


def last_warning(events: Iterable[K8sObject]) -> str:
    """The newest Warning in words; empty where there is none."""
    warnings = [each for each in events if each.get("type") == "Warning"]
    return words_of(max(warnings, key=told_at)) if warnings else ""
