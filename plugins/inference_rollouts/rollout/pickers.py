"""Endpoint pickers: whether a pool's answers, and what becomes of requests while it does not."""

from __future__ import annotations

from dataclasses import dataclass

from inference_rollouts.clients.kubernetes import ClusterHook, Object
from inference_rollouts.core.objects.readiness import picker_reference, ready_pods


@dataclass(frozen=True, slots=True)
class Outage:
    """A picker without a ready pod. `total`: the gateway drops the pool's requests meanwhile (FailClose)."""

    total: bool
    message: str


def picker_outage(cluster: ClusterHook, pool: Object) -> Outage | None:
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
    said = f"The endpoint picker {name} of {pool['metadata']['name']} has no ready pod, {effect}."
    return Outage(fail_close, said)
