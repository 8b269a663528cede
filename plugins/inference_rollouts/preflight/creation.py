"""What a rollout will create, and whether the cluster would accept it."""

from __future__ import annotations

from inference_rollouts.clients.include import load_manifests
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import is_ours
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.manifests import clone_for, is_wanted, manifest_values, owned, render
from inference_rollouts.rollout.targets import bound_to


def manifests(cluster: Cluster, plan: PoolPlan, stable: K8sObject) -> list[K8sObject]:
    """Rendered templates, and clones of the objectives and rewrites of the InferencePool `stable`."""
    values = manifest_values(plan, stable)
    rendered = [render(template, values) for template in load_manifests()]
    wanted = [manifest for manifest in rendered if is_wanted(manifest, stable, cluster.serves)]
    return [owned(manifest, plan.name, plan.canary) for manifest in [*wanted, *_clones(cluster, plan)]]


def check(cluster: Cluster, plan: PoolPlan, wanted: list[K8sObject]) -> None:
    """The cluster would accept every manifest, and none of them would overwrite somebody else's object."""
    for manifest in wanted:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        existing = cluster.find(manifest["apiVersion"], kind, name)
        if existing is not None and not is_ours(existing, plan.name):
            raise ClusterRefused(
                f"{kind} {name} exists and is not this plan's; choose another name for the canary."
            )
        cluster.apply(manifest, dry_run=True)


def _clones(cluster: Cluster, plan: PoolPlan) -> list[K8sObject]:
    """The stable pool's objectives and rewrites, for the canary, each in its own API group.

    Where two groups are installed, newer endpoint pickers read the one and older ones the other.
    """
    return [clone_for(obj, plan.stable, plan.canary) for obj in bound_to(cluster, plan.stable)]
