"""On GKE a new pool needs policies of its own: without them pods are probed at / and long answers are cut."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.api_groups import GKE_API, POLICY_KINDS
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.plan.plan import PoolPlan


def check(cluster: Cluster, plan: PoolPlan, wanted: Sequence[K8sObject]) -> None:
    """Where the cluster serves GKE's policies, the rollout creates one of each kind for the canary."""
    targeted = {
        manifest["kind"]
        for manifest in wanted
        if manifest["kind"] in POLICY_KINDS and manifest["spec"]["targetRef"]["name"] == plan.canary
    }
    for kind in sorted(POLICY_KINDS - targeted):
        if cluster.serves(GKE_API, kind):
            raise ClusterRefused(
                f"This cluster serves {kind}, and no manifest has one for InferencePool {plan.canary}: its "
                "health checks or time limits would be the load balancer's defaults, which do not suit model "
                "servers. Put it back into include/manifests."
            )
