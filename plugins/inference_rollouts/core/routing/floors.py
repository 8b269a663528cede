"""Floors: the lower bounds of the autoscalers of stable's workload, raised while a rollout runs.

An autoscaler sees stable idle while the canary has its traffic, shrinks it, and then nothing can carry that
traffic back. What was found is on the claim before anything is raised, and goes back when the rollout ends.
Whoever raises has read the autoscaler before the claim, and writes only what it has read: from the end on,
which changes the autoscaler after the claim, nothing is raised any more, however late somebody is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, annotations_of, part, parts, title_of
from inference_rollouts.core.routing.claim import Floor

Patch = list[dict[str, Any]]

ENDED = "inference-rollouts.dev/floor-ended"
"""The annotation of an autoscaler, for a moment, while what was raised is put back."""
_ANNOTATIONS = "/metadata/annotations"


@dataclass(frozen=True, slots=True)
class Scaler:
    """A kind of autoscaler: where its bounds are, and what holds where it does not say.

    `idle` is where it says how many replicas are left where nobody asks, whatever the floor.
    """

    api: str
    kind: str
    floor: str
    ceiling: str
    least: int
    most: int
    idle: str = ""


SCALERS = (
    Scaler("autoscaling/v2", "HorizontalPodAutoscaler", "minReplicas", "maxReplicas", 1, 1),
    Scaler(
        "keda.sh/v1alpha1", "ScaledObject", "minReplicaCount", "maxReplicaCount", 0, 100, "idleReplicaCount"
    ),
)
"""Kubernetes' own and KEDA's, with the defaults of their APIs."""


def floors_to_raise(scalers: Iterable[K8sObject], workload: K8sObject, replicas: int) -> tuple[Floor, ...]:
    """Of the autoscalers of a workload: those whose floor would let it shrink below so many replicas.

    One that another autoscaler made, as KEDA makes its own, follows that.
    """
    return tuple(_floors(scalers, workload, replicas))


def _floors(scalers: Iterable[K8sObject], workload: K8sObject, replicas: int) -> Iterator[Floor]:
    named = workload["kind"], workload["metadata"]["name"]
    for obj in scalers:
        kind, spec = _scaler(obj), part(obj, "spec")
        scaled = part(spec, "scaleTargetRef")
        made = any(owner.get("kind") == "ScaledObject" for owner in parts(obj, "metadata", "ownerReferences"))
        if made or (scaled.get("kind") or "Deployment", scaled.get("name")) != named:
            continue
        name = obj["metadata"]["name"]
        if (idle := spec.get(kind.idle)) is not None and idle < replicas:
            yield idle_floor(kind, name, idle)
        found, most = spec.get(kind.floor), spec.get(kind.ceiling) or kind.most
        wanted = min(replicas, most)
        if wanted > (kind.least if found is None else found):
            yield raised_floor(kind, name, found, wanted)


def idle_floor(kind: Scaler, name: str, found: int) -> Floor:
    """That of an autoscaler where nobody asks. It must be below the other, so it comes first."""
    return Floor(api=kind.api, kind=kind.kind, name=name, path=f"/spec/{kind.idle}", found=found, unset=True)


def raised_floor(kind: Scaler, name: str, found: int | None, raised: int) -> Floor:
    """The lower bound of an autoscaler."""
    path = f"/spec/{kind.floor}"
    return Floor(api=kind.api, kind=kind.kind, name=name, path=path, found=found, raised=raised)


def raise_patch(obj: K8sObject, floor: Floor) -> Patch:
    """Raise a floor that is as it was found; nothing where it is not."""
    if _now(obj, floor) != floor.found:
        return []
    return _set(obj, floor, floor.held)


def is_raised(obj: K8sObject, floor: Floor) -> bool:
    """Whether a floor is as we raised it."""
    return _now(obj, floor) == floor.held


def put_back_patch(obj: K8sObject, floor: Floor) -> Patch:
    """Put a floor back that is as we raised it; nothing where somebody set it anew: then it is theirs.

    One that is as it was found may be raised yet, by who has read it before its rollout ended: a mark is a
    change, by which that is refused.
    """
    if is_raised(obj, floor):
        return _set(obj, floor, floor.found)
    annotations = annotations_of(obj)
    if _now(obj, floor) != floor.found or ENDED in annotations:
        return []
    return [*_unchanged(obj), {"op": "add", "path": _ANNOTATIONS, "value": {**annotations, ENDED: "true"}}]


def unmark_patch(obj: K8sObject) -> Patch:
    """Take the mark away again: nothing of it stays."""
    if ENDED not in (annotations := annotations_of(obj)):
        return []
    rest = {name: value for name, value in annotations.items() if name != ENDED}
    if not rest:
        return [*_unchanged(obj), {"op": "remove", "path": _ANNOTATIONS}]
    return [*_unchanged(obj), {"op": "add", "path": _ANNOTATIONS, "value": rest}]


def _set(obj: K8sObject, floor: Floor, value: int | None) -> Patch:
    if value is None:
        return [*_unchanged(obj), {"op": "remove", "path": floor.path}]
    return [*_unchanged(obj), {"op": "add", "path": floor.path, "value": value}]


def lowered(obj: K8sObject, floor: Floor) -> str:
    """A sentence where a floor is lower than the rollout wants it; else empty."""
    now = _now(obj, floor)
    if now == floor.held or (now is not None and floor.held is not None and now > floor.held):
        return ""
    is_now, wanted = ("unset" if each is None else str(each) for each in (now, floor.held))
    which = "idle floor" if floor.unset else "floor"
    return f"the {which} of {title_of(obj)} is {is_now} where this rollout wants {wanted}"


def _scaler(obj: K8sObject) -> Scaler:
    return next(each for each in SCALERS if each.kind == obj["kind"])


def _now(obj: K8sObject, floor: Floor) -> int | None:
    value: int | None = part(obj, "spec").get(floor.path.rpartition("/")[2])
    return value


def _unchanged(obj: K8sObject) -> Patch:
    """A field that is not there cannot be tested, so the whole object is."""
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]}]
