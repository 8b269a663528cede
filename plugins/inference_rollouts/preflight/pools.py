"""The stable pool serves and can take all traffic back; the canary's names are free, or this plan's."""

from __future__ import annotations

from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.hold import is_held_by
from inference_rollouts.core.manifests import is_ours
from inference_rollouts.core.plan import Plan, PoolPlan
from inference_rollouts.core.readiness import Phase, pool_readiness, ready_pods
from inference_rollouts.core.route import carries
from inference_rollouts.hooks.cluster import ClusterHook
from inference_rollouts.hooks.observation import pods_of
from inference_rollouts.hooks.targets import GATEWAY_API, POOL_API


def check_stable(cluster: ClusterHook, plan: Plan, gateway: str) -> None:
    """The pool that serves today exists, has ready pods, and `gateway` (if any) accepts it."""
    name = plan.pool_of(plan.stable)
    pool = cluster.find(POOL_API, "InferencePool", name)
    if pool is None:
        raise ClusterRefused(f"There is no InferencePool {name} in namespace {plan.namespace}.")
    if gateway and (seen := pool_readiness(pool, gateway)).phase is not Phase.READY:
        raise ClusterRefused(f"The stable pool does not work as it is: {seen.message}.")
    if not ready_pods(pods_of(cluster, name)):
        raise ClusterRefused(f"InferencePool {name} has no ready pod, so it could not take traffic back.")


def check_canary(cluster: ClusterHook, plan: PoolPlan, run: str) -> None:
    """The canary pool serves nobody yet, and what bears its name is a former rollout's of this plan."""
    for route in cluster.select(GATEWAY_API, "HTTPRoute"):
        if carries(route, plan.canary) and not is_held_by(route, run):
            raise RouteRefused(
                f"HTTPRoute {route['metadata']['name']} sends traffic to InferencePool {plan.canary}; "
                "a canary must be a pool that serves nobody yet."
            )
    for api, kind in (("apps/v1", "Deployment"), (POOL_API, "InferencePool")):
        existing = cluster.find(api, kind, plan.canary)
        if existing is not None and not is_ours(existing, plan.name):
            raise ClusterRefused(
                f"{kind} {plan.canary} exists and was not created by a rollout of plan {plan.name}; "
                "choose another name for the canary."
            )
