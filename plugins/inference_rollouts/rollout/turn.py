"""Taking a turn at accelerators that others may want too."""

from __future__ import annotations

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import NotFound, PatchRefused
from inference_rollouts.core.nodes.turn import (
    Turn,
    empty_lease,
    is_of,
    is_over,
    lease_of,
    taking_patch,
    turn_of,
)
from inference_rollouts.core.objects.api_groups import LEASE_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.plan.plan import PoolPlan


def take_turn(cluster: Cluster, plan: PoolPlan, pool: str, pods: int) -> Readiness:
    """Ready when it is this pool's turn, to place so many pods, else who has it.

    May be repeated: a turn that is had stays.
    """
    name = lease_of(plan.workload.accelerator.resource, plan.nodes.selector_for(pool))
    lease = _lease(cluster, name)
    now, held = cluster.time(), turn_of(lease)
    if held and is_of(held, plan.name, pool) and now <= held.until:
        return Readiness(Phase.READY, "it is the turn of this rollout")
    if held and not is_over(held, cluster.select("v1", "Pod", plan.pod_labels(held.pool)), now):
        return Readiness(
            Phase.WAITING, f"plan {held.plan} places pool {held.pool} on the same accelerators first"
        )
    turn = Turn(
        plan=plan.name,
        pool=pool,
        pods=pods,
        since=now,
        until=now + plan.deadlines.ready,
    )
    try:
        cluster.patch(LEASE_API, "Lease", name, taking_patch(lease, turn))
    except PatchRefused:
        return Readiness(Phase.WAITING, "another rollout wants the same accelerators at this moment")
    return Readiness(Phase.READY, "it is the turn of this rollout")


def _lease(cluster: Cluster, name: str) -> K8sObject:
    try:
        return cluster.get(LEASE_API, "Lease", name)
    except NotFound:
        return cluster.apply(empty_lease(name))
