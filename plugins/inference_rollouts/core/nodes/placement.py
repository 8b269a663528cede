"""Pods that wait for nodes, in the cluster's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference_rollouts.core.objects.readiness import Readiness

Json = Mapping[str, Any]

TELLING = ("TriggeredScaleUp", "FailedScaleUp", "NotTriggerScaleUp", "FailedScheduling")


def unplaced(pods: Sequence[Json]) -> list[Json]:
    """Pods that have no node, but for those on their way out."""
    return [
        pod for pod in pods if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    ]


def placement_readiness(pods: Sequence[Json], wanted: int, events: Sequence[Json]) -> Readiness:
    """Whether `wanted` pods have nodes; else why not, by the `events` about one that has none.

    A scale-up that failed is tried again, with other machines or in other zones: it is waited for.
    """
    placed = len(pods) - len(unplaced(pods))
    told = [event for event in events if event.get("reason") in TELLING]
    words = f": {_newest(told)}" if told and placed < wanted else ""
    return Readiness.when(placed >= wanted, f"{placed} of {wanted} pods have nodes{words}")


def _newest(told: Sequence[Json]) -> str:
    """The last word of an autoscaler, else of the scheduler, which only says that there is no room."""
    newest = max(told, key=lambda event: (event["reason"] != "FailedScheduling", _time(event)))
    return f"{newest['reason']}: {newest.get('message', '')}".rstrip(".")


def _time(event: Json) -> tuple[str, int]:
    """Timestamps are whole seconds; among equal ones the last that was written is the newest."""
    version = str(event.get("metadata", {}).get("resourceVersion", ""))
    return str(event.get("lastTimestamp") or event.get("eventTime") or ""), int(version or 0)
