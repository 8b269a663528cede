"""Pods that wait for nodes, and why, as the cluster says."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.objects.events import told_at, words_of
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Readiness

EXPLAINING = ("TriggeredScaleUp", "FailedScaleUp", "NotTriggerScaleUp", "FailedScheduling")


def unplaced(pods: Sequence[K8sObject]) -> list[K8sObject]:
    """Pods that have no node, but for those on their way out."""
    return [
        pod for pod in pods if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
    ]


def placement_readiness(
    pods: Sequence[K8sObject], wanted: int, events: Sequence[K8sObject], unmade: str = ""
) -> Readiness:
    """Whether `wanted` pods have nodes; else why not, by the `events` about one that has none.

    A scale-up that failed is tried again, with other machines or in other zones: it is waited for. `unmade`
    says why there are fewer pods than there are to be, where somebody knows.
    """
    placed = len(pods) - len(unplaced(pods))
    reasons = [event for event in events if event.get("reason") in EXPLAINING]
    whys = [_newest(reasons)] if reasons else [unmade] if unmade and len(pods) < wanted else []
    why = f": {whys[0]}" if whys and placed < wanted else ""
    return Readiness.when(placed >= wanted, f"{placed} of {wanted} pods have nodes{why}")


def _newest(events: Sequence[K8sObject]) -> str:
    """The last reason of an autoscaler, else of the scheduler, which only says that there is no room."""
    return words_of(max(events, key=lambda event: (event["reason"] != "FailedScheduling", told_at(event))))
