"""A workload that is like stable's is read from what serves today."""

from __future__ import annotations

from inference_rollouts.clients import Clients
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.nodes.provisioners import ExistingNodes
from inference_rollouts.core.objects.readiness import ready_pods
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.like_stable import resolved
from inference_rollouts.core.run.taking_over import Stable
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.rollout.pods import pods_of, ports_in, servers_of
from inference_rollouts.rollout.serving import listed


def resolved_for(clients: Clients, plan: PoolPlan, stable: Stable) -> PoolPlan:
    """The plan with all that it leaves as on stable. Raises ClusterRefused or PlanInvalid."""
    if plan.workload.like != "stable":
        return plan
    pod, url = next(iter(servers_of(clients.cluster, plan.stable).items()))
    return resolved(plan, stable.pool, stable.workloads, listed(clients.servers, pod, url))


def adopted(clients: Clients, plan: PoolPlan) -> PoolPlan:
    """The plan with a workload as it is in the canary, which is there already. Raises ClusterRefused."""
    urls = servers_of(clients.cluster, plan.canary)
    pods = ready_pods(pods_of(clients.cluster, plan.canary))
    pod, url = next(iter(urls.items()))
    served = {each.name: each.path for each in listed(clients.servers, pod, url) if each.parent is None}
    name = (
        plan.workload.served_model_name
        if plan.workload.served_model_name in served
        else next(iter(served), "")
    )
    if not name:
        raise ClusterRefused(f"Pod {pod} of {plan.canary} does not say which model it serves.")
    most = vllm.max_num_seqs(vllm.arguments_of(pods[0]))
    update = {
        "like": "stable",
        "served_model_name": name,
        "model": served[name] or name,
        "replicas": len(pods),
        "port": ports_in(clients.cluster, plan.canary)[0],
        "args": (f"--max-num-seqs={most}",) if most else (),
        "adapters": (),
    }
    work = plan.workload.model_copy(update=update)
    return plan.model_copy(update={"workload": work, "nodes": ExistingNodes(selector={})})
