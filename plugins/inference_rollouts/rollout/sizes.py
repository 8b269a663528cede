"""The size of what rollouts created: brought back where all traffic is to go back to it."""

from __future__ import annotations

import logging

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.objects.api_groups import WORKLOAD_API
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.k8s import K8sObject, part
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.rollout.targets import find_pool

log = logging.getLogger(__name__)


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
    replicas = [each["spec"].get("replicas", 1) for each in servers]
    if len(servers) != 1 or replicas[0] >= pods:
        return
    meta = servers[0]["metadata"]
    patch = [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": "/spec/replicas", "value": replicas[0]},
        {"op": "replace", "path": "/spec/replicas", "value": pods},
    ]
    live = cluster.patch(WORKLOAD_API, "Deployment", meta["name"], patch)
    text = f"from {replicas[0]} to {pods} pods, which carried all traffic before the rollout"
    cluster.event(live, "ScaledUp", text)


def _servers(cluster: Cluster, plan: str, stable: str) -> list[K8sObject]:
    """The Deployments that a rollout created and whose pods the stable pool selects."""
    pool = find_pool(cluster, stable)
    labels = pod_labels(pool) if pool else {}
    created = cluster.select(WORKLOAD_API, "Deployment", owner_labels(plan, stable))
    templates = [(each, part(each, "spec", "template", "metadata", "labels")) for each in created]
    return [each for each, has in templates if labels and labels.items() <= has.items()]
