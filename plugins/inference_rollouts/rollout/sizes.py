"""The size of what rollouts created: brought back where all traffic is to go back to it."""

from __future__ import annotations

import logging

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.objects.workload_kinds import replicas_of
from inference_rollouts.rollout.targets import find_pool
from inference_rollouts.rollout.workloads import chosen_by, workloads_of

log = logging.getLogger(__name__)


def scale(cluster: Cluster, workload: K8sObject, pods: int, why: str) -> None:
    """Give a workload so many replicas, as long as it is as it was read, and tell why."""
    meta, before = workload["metadata"], replicas_of(workload)
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/spec/replicas", "value": before},
        {"op": "replace", "path": "/spec/replicas", "value": pods},
    ]
    live = cluster.patch(workload["apiVersion"], workload["kind"], meta["name"], patch)
    reason = "ScaledUp" if pods > before else "ScaledDown"
    cluster.event(live, reason, f"from {before} to {pods} pods: {why}")


def bring_back_size(cluster: Cluster, plan: str, stable: str, pods: int) -> None:
    """Scale the workload of pool `stable` to `pods` where it is smaller and a rollout of `plan` created it.

    What others created is theirs to scale. A failure is logged: traffic goes back in steps that fit.
    """
    try:
        _bring_back_size(cluster, plan, stable, pods)
    except Exception as error:
        log.warning("could not bring %s back to %d pods: %s", stable, pods, error)


def _bring_back_size(cluster: Cluster, plan: str, stable: str, pods: int) -> None:
    servers = _servers(cluster, plan, stable)
    replicas = list(map(replicas_of, servers))
    if len(servers) != 1 or replicas[0] >= pods:
        return
    scale(cluster, servers[0], pods, "so many carried all traffic before the rollout")


def _servers(cluster: Cluster, plan: str, stable: str) -> list[K8sObject]:
    """The workloads that a rollout created and whose pods the stable pool selects."""
    pool = find_pool(cluster, stable)
    created, _ = workloads_of(cluster, owner_labels(plan, stable))
    return chosen_by(pod_labels(pool) if pool else {}, created)
