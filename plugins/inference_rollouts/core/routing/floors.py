"""Floors: the lower bounds of the autoscalers of stable's workload, raised while a rollout runs.

An autoscaler sees stable idle while the canary has its traffic, shrinks it, and then nothing can carry that
traffic back. What was found is on the claim, and goes back when the rollout ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, part, parts, title_of
from inference_rollouts.core.routing.claim import Floor

Patch = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Scaler:
    """A kind of autoscaler: where its bounds are, and what holds where it does not say."""

    api: str
    kind: str
    floor: str
    ceiling: str
    least: int
    most: int


SCALERS = (
    Scaler("autoscaling/v2", "HorizontalPodAutoscaler", "minReplicas", "maxReplicas", 1, 1),
    Scaler("keda.sh/v1alpha1", "ScaledObject", "minReplicaCount", "maxReplicaCount", 0, 100),
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
        found, most = spec.get(kind.floor), spec.get(kind.ceiling) or kind.most
        wanted = min(replicas, most)
        if wanted > (kind.least if found is None else found):
            name = obj["metadata"]["name"]
            yield Floor(
                api=kind.api,
                kind=kind.kind,
                name=name,
                path=f"/spec/{kind.floor}",
                found=found,
                raised=wanted,
            )


def raise_patch(obj: K8sObject, floor: Floor) -> Patch:
    """Raise a floor that is as it was found; nothing where it is not."""
    if _now(obj, floor) != floor.found:
        return []
    return [*_unchanged(obj), {"op": "add", "path": floor.path, "value": floor.raised}]


def put_back_patch(obj: K8sObject, floor: Floor) -> Patch:
    """Put a floor back that is as we raised it; nothing where somebody set it anew: then it is theirs."""
    if _now(obj, floor) != floor.raised:
        return []
    if floor.found is None:
        return [*_unchanged(obj), {"op": "remove", "path": floor.path}]
    return [*_unchanged(obj), {"op": "add", "path": floor.path, "value": floor.found}]


def lowered(obj: K8sObject, floor: Floor) -> str:
    """A sentence where a floor is lower than the rollout wants it; else empty."""
    now = _now(obj, floor)
    if now is not None and now >= floor.raised:
        return ""
    is_now = "unset" if now is None else str(now)
    return f"the floor of {title_of(obj)} is {is_now} where this rollout wants {floor.raised}"


def _scaler(obj: K8sObject) -> Scaler:
    return next(each for each in SCALERS if each.kind == obj["kind"])


def _now(obj: K8sObject, floor: Floor) -> int | None:
    value: int | None = part(obj, "spec").get(floor.path.rpartition("/")[2])
    return value


def _unchanged(obj: K8sObject) -> Patch:
    """A field that is not there cannot be tested, so the whole object is."""
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]}]
