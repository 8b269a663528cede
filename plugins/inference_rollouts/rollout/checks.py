"""What waiting tasks wait for: each check reads the cluster and answers with a phase."""

from __future__ import annotations

from collections.abc import Callable

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.clients.prometheus import PrometheusHook
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.nodes.placement import placement_readiness, unplaced
from inference_rollouts.core.objects.api_groups import GATEWAY_API, POLICY_KINDS
from inference_rollouts.core.objects.readiness import (
    Readiness,
    policy_readiness,
    pool_readiness,
    route_readiness,
    workload_readiness,
    worst,
)
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.capacity import next_raise
from inference_rollouts.rollout.nodes import Provisioner, provisioner_of
from inference_rollouts.rollout.targets import find_pool

Check = Callable[..., Readiness]  # of ClusterHook, Frozen and, where a check takes one, its argument


def nodes_of(cluster: ClusterHook, frozen: Frozen) -> Provisioner:
    """How this run brings the canary's nodes."""
    plan = frozen.pool_plan
    return provisioner_of(cluster, plan, plan.canary, frozen.run)


def nodes(cluster: ClusterHook, frozen: Frozen) -> Readiness:
    """Ready nodes with enough free accelerators for every replica of the canary."""
    return nodes_of(cluster, frozen).look()


def nodes_gone(cluster: ClusterHook, frozen: Frozen) -> Readiness:
    """What this run created to have nodes is deleted."""
    return nodes_of(cluster, frozen).take_back()


def placement(cluster: ClusterHook, frozen: Frozen) -> Readiness:
    """Every pod of the canary has a node."""
    plan = frozen.pool_plan
    pods = cluster.select("v1", "Pod", plan.pod_labels(plan.canary))
    waiting = unplaced(pods)
    events = cluster.events_about(waiting[0]) if waiting else []
    return placement_readiness(pods, plan.workload.replicas, events)


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
    """The gateway accepted the canary pool, its policies, and every route that now names it, previews too."""
    pool = find_pool(cluster, frozen.plan.canary)
    if pool is None:
        raise ClusterRefused(f"InferencePool {frozen.plan.canary} is gone.")
    names = [target.name for target in frozen.targets]
    names += [preview["metadata"]["name"] for preview in frozen.previews]
    routes = [cluster.get(GATEWAY_API, "HTTPRoute", name) for name in names]
    policies = [
        cluster.get(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
        for manifest in frozen.manifests
        if manifest["kind"] in POLICY_KINDS
    ]
    return worst(
        [
            pool_readiness(pool, frozen.gateway),
            *(policy_readiness(policy) for policy in policies),
            *(route_readiness(route, frozen.gateway) for route in routes),
        ]
    )


def capacity(cluster: ClusterHook, frozen: Frozen, step: str) -> Readiness:
    """The pools have room for what step `step` (from 1) gives the canary, and their pickers work."""
    prometheus = PrometheusHook(frozen.plan.connections.prometheus)
    return next_raise(cluster, prometheus, frozen, frozen.plan.rungs[int(step) - 1])


CHECKS: dict[str, Check] = {
    "nodes": nodes,
    "nodes_gone": nodes_gone,
    "placement": placement,
    "workloads": workloads,
    "attachment": attachment,
    "capacity": capacity,
}
