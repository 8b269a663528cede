"""Pods as a page shows them: whether each serves, how often it died, and what it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from inference_rollouts.core.objects.k8s import K8sObject, created_at, part, parts
from inference_rollouts.core.objects.readiness import container_statuses, is_true, restarted_at
from inference_rollouts.core.reporting.ladder import Happening
from inference_rollouts.core.values import Value


class SeenPod(Value):
    """`version` is the image's tag; `since` when it was made, `died` when a container last did (Unix s)."""

    name: str
    ready: bool
    phase: str
    restarts: int
    version: str
    since: float | None
    died: float | None


def seen_pods(pods: Iterable[K8sObject]) -> list[SeenPod]:
    """In the order of their names."""
    return sorted((_seen(pod) for pod in pods), key=lambda pod: pod.name)


def deaths(pods: Iterable[SeenPod], since: float) -> list[Happening]:
    """The latest restart of each pod since then."""
    return [
        Happening(time=pod.died, kind="restart", text=f"a container of {pod.name} was restarted")
        for pod in pods
        if pod.died is not None and pod.died >= since
    ]


def _seen(pod: K8sObject) -> SeenPod:
    statuses = container_statuses(pod)
    images = [str(each.get("image", "")) for each in parts(pod, "spec", "containers")]
    going = "deletionTimestamp" in pod["metadata"]
    died = max((restarted_at(each) for each in statuses), default=-math.inf)
    return SeenPod(
        name=pod["metadata"]["name"],
        ready=is_true(pod, "Ready") and not going,
        phase="Terminating" if going else str(part(pod, "status").get("phase", "Unknown")),
        restarts=sum(int(each.get("restartCount", 0)) for each in statuses),
        version=_tag(images[0]) if images else "",
        since=created_at(pod),
        died=died if math.isfinite(died) else None,
    )


def _tag(image: str) -> str:
    """What comes after the name: a tag, or the beginning of a digest."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return name.partition("@")[2][:19]
    return name.partition(":")[2] or "latest"
