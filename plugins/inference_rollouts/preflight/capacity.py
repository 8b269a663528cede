"""The stable pool carries what it has to now, and the canary as planned could."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, ClusterUnavailable
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.routing.claim import Floor
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.capacity import Pool, Room, rooms
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.rollout.capacity import requests_of
from inference_rollouts.rollout.floors import find_floors
from inference_rollouts.rollout.pods import pods_of

SAY = "or say in the plan's `capacity` how many requests a pod runs at once"

log = logging.getLogger(__name__)


def count_stable(cluster: Cluster, plan: Plan) -> int:
    """How many pods carry all traffic now."""
    return len(ready_pods(pods_of(cluster, plan.pool_of(plan.stable))))


def floors(cluster: Cluster, plan: PoolPlan, pods: int) -> tuple[Floor, ...]:
    """The floors of stable's autoscalers to be raised while the rollout runs; says where that cannot be."""
    if not plan.capacity.keep_stable:
        return ()
    try:
        found = find_floors(cluster, plan.stable, pods)
    except (ClusterRefused, ClusterUnavailable) as error:
        log.warning("an autoscaler may make %s smaller while this runs: %s", plan.stable, error)
        return ()
    for floor in found:
        keeps = f"{floor.raised} pods" if floor.held else "its size where nobody asks"
        log.info("%s %s keeps %s while this runs", floor.kind, floor.name, keeps)
    return found


def rooms_for(frozen: Frozen, ready: Sequence[K8sObject], load: float | None) -> tuple[Room, Room]:
    """Room for so many requests in flight: in stable with these pods, and in the canary as planned."""
    plan = frozen.plan.as_pool_plan
    limits, work = plan.capacity, plan.workload
    today = Pool.of(plan.stable, ready, limits.declared_stable)
    planned = Pool(plan.canary, work.replicas, limits.per_pod or vllm.max_num_seqs(work.args))
    return rooms(limits, today, planned, 100, load, frozen.stable_pods)


def check(clients: Clients, frozen: Frozen) -> None:
    """Stable has room for all that is in flight now, and so would the canary's replicas."""
    plan = frozen.plan.as_pool_plan
    work = plan.workload
    today, adopted = (pods_of(clients.cluster, pool) for pool in (plan.stable, plan.canary))
    load = requests_of(clients.prometheus, frozen, [*today, *adopted])
    stable, canary = rooms_for(frozen, ready_pods(today), load)
    log.info("%s", stable.message)
    if not stable.enough:
        raise ClusterRefused(
            f"The stable pool is too small as it is: {stable.message}. Give it {stable.needed} pods, {SAY}."
        )
    planned_as = f"{work.replicas} replica{'' if work.replicas == 1 else 's'}"
    sentence = f"{plan.canary} is to have {planned_as}{canary.figures}"
    log.info("%s", sentence)
    if not canary.enough:
        raise ClusterRefused(
            f"The canary is too small: {sentence}. Set workload.replicas to {canary.needed}, {SAY}."
        )
