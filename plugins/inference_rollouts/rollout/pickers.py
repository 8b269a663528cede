"""Endpoint pickers: whether a pool's answers, and what becomes of requests while it does not."""

from __future__ import annotations

from dataclasses import dataclass

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import picker_reference, ready_pods
from inference_rollouts.rollout.targets import find_pool


@dataclass(frozen=True, slots=True)
class Outage:
    """A picker without a ready pod. `total`: the gateway drops the pool's requests meanwhile (FailClose)."""

    total: bool
    message: str


def outage_of(cluster: Cluster, pool: str) -> Outage | None:
    """The outage of a pool's endpoint picker, if any; None also where there is no such pool."""
    live = find_pool(cluster, pool)
    return picker_outage(cluster, live) if live else None


def picker_outage(cluster: Cluster, pool: K8sObject) -> Outage | None:
    """The outage of a pool's endpoint picker; None when it is ready, or the pool has none."""
    reference = picker_reference(pool)
    if reference is None:
        return None
    name, fail_close = reference
    service = cluster.find("v1", "Service", name)
    selector = service["spec"].get("selector") if service else None
    if selector and ready_pods(cluster.select("v1", "Pod", selector)):
        return None
    effect = (
        "and its failure mode FailClose drops all requests"
        if fail_close
        else "so requests reach any pod, and names of models are not rewritten"
    )
    return Outage(
        fail_close, f"The endpoint picker {name} of {pool['metadata']['name']} has no ready pod, {effect}."
    )
