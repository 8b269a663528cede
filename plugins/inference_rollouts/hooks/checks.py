"""What waiting tasks wait for: each check reads the cluster and answers with a phase."""

from __future__ import annotations

from collections.abc import Callable

from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.frozen import Frozen
from inference_rollouts.core.readiness import (
    Readiness,
    nodes_readiness,
    pool_readiness,
    route_readiness,
    workload_readiness,
    worst,
)
from inference_rollouts.hooks.cluster import ClusterHook
from inference_rollouts.hooks.nodes import Provisioner, provisioner_of
from inference_rollouts.hooks.targets import GATEWAY_API, find_pool

Check = Callable[[ClusterHook, Frozen], Readiness]


def nodes(cluster: ClusterHook, frozen: Frozen) -> Readiness:
    """Ready nodes with enough free accelerators for every replica of the canary."""
    plan = frozen.pool_plan
    found = cluster.select("v1", "Node", plan.nodes.selector)
    pods = cluster.select_everywhere("v1", "Pod")
    resource = plan.workload.accelerator.resource
    return nodes_readiness(found, pods, resource, plan.accelerators_needed, plan.pod_labels(plan.canary))


def workloads(cluster: ClusterHook, frozen: Frozen) -> Readiness:
    """Every Deployment that the rollout applied is available at its current template."""
    answers = []
    for manifest in frozen.manifests:
        if manifest["kind"] == "Deployment":
            live = cluster.get("apps/v1", "Deployment", manifest["metadata"]["name"])
            pods = cluster.select("v1", "Pod", live["spec"]["selector"]["matchLabels"])
            answers.append(workload_readiness(live, pods))
    return worst(answers)


def attachment(cluster: ClusterHook, frozen: Frozen) -> Readiness:
    """The gateway accepted the canary pool and every route that now names it, previews included."""
    pool = find_pool(cluster, frozen.plan.canary)
    if pool is None:
        raise ClusterRefused(f"InferencePool {frozen.plan.canary} is gone.")
    names = [target.name for target in frozen.targets]
    names += [preview["metadata"]["name"] for preview in frozen.previews]
    routes = [cluster.get(GATEWAY_API, "HTTPRoute", name) for name in names]
    return worst(
        [
            pool_readiness(pool, frozen.gateway),
            *(route_readiness(route, frozen.gateway) for route in routes),
        ]
    )


CHECKS: dict[str, Check] = {"nodes": nodes, "workloads": workloads, "attachment": attachment}
