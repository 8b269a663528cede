"""A workload that is like stable's is read from what serves today."""

from __future__ import annotations

from inference_rollouts.clients import Clients
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.like_stable import resolved
from inference_rollouts.core.run.taking_over import Stable
from inference_rollouts.rollout.pods import servers_of
from inference_rollouts.rollout.serving import listed


def resolved_for(clients: Clients, plan: PoolPlan, stable: Stable) -> PoolPlan:
    """The plan with all that it leaves as on stable. Raises ClusterRefused or PlanInvalid."""
    if plan.workload.like != "stable":
        return plan
    pod, url = next(iter(servers_of(clients.cluster, plan.stable).items()))
    return resolved(plan, stable.pool, stable.workloads, listed(clients.servers, pod, url))
