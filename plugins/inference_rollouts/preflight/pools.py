"""The stable pool serves and can take all traffic back; the canary's names are free, or this plan's."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.objects.k8s import K8sObject, group_of
from inference_rollouts.core.objects.ownership import is_ours
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.objects.readiness import Phase, pool_readiness
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.routing.route import named_groups, rules_carrying
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.preview import is_preview_of
from inference_rollouts.preflight.routing import all_routes
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.targets import find_pool, route_places
from inference_rollouts.rollout.workloads import workloads_of


def check_stable(cluster: Cluster, plan: Plan, parents: Sequence[Parent]) -> None:
    """The pool that serves today exists, can take traffic, and the gateways of `parents` accept it."""
    check_pool(cluster, plan, plan.pool_of(plan.stable), parents, "The stable pool")


def check_pool(cluster: Cluster, plan: Plan, name: str, parents: Sequence[Parent], what: str) -> None:
    """A pool, in a sentence `what`, exists and can take traffic. Raises ClusterRefused."""
    pool = find_pool(cluster, name)
    if pool is None:
        raise ClusterRefused(f"There is no InferencePool {name} in namespace {plan.namespace}.")
    if parents and (seen := pool_readiness(pool, parents)).phase is not Phase.READY:
        raise ClusterRefused(f"{what} does not work as it is: {seen.message}.")
    then = "back" if name == plan.pool_of(plan.stable) else "over"
    now = availability_of(cluster, name)
    if not now.pods:
        raise ClusterRefused(f"InferencePool {name} has no ready pod, so it could not take traffic {then}.")
    if now.sentence:
        raise ClusterRefused(f"{what} does not work as it is. {now.sentence}")


def routed_pool(cluster: Cluster, plan: PoolPlan, routes: Sequence[Target]) -> K8sObject:
    """The stable InferencePool. Raises RouteRefused when a route names it in another API group."""
    pool = find_pool(cluster, plan.stable)
    if pool is None:
        raise ClusterRefused(f"There is no InferencePool {plan.stable} in namespace {plan.namespace}.")
    for target in routes:
        route = cluster.get(target.api, target.kind, target.name)
        if strange := named_groups(route, plan.stable) - {group_of(pool)}:
            raise RouteRefused(
                f"{target} names InferencePool {plan.stable} of group {', '.join(sorted(strange))}, "
                f"but it is of group {group_of(pool)}; name it so in the route."
            )
    return pool


def is_adopted(cluster: Cluster, plan: PoolPlan, moved: Sequence[tuple[Target, K8sObject]]) -> bool:
    """Whether the canary is a pool of somebody else's that stands, without weight, in every rule that moves.

    So a promotion leaves the pool that it came from: going back to it by a rollout changes nothing of it.
    """
    pool = find_pool(cluster, plan.canary)
    places = [place for _, obj in moved for place in route_places(plan, obj)]
    beside = all(plan.canary in [each["name"] for each in place.found] for place in places)
    return pool is not None and not is_ours(pool, plan.name) and beside


def check_canary(cluster: Cluster, plan: PoolPlan, *, adopted: bool) -> None:
    """The canary pool serves nobody yet, and what bears its name is a former rollout's, or `adopted`."""
    for route in all_routes(cluster):
        meta = route["metadata"]
        if rules_carrying(route, plan.canary, plan.namespace) and not is_preview_of(route, plan.name):
            here = meta.get("namespace", plan.namespace) == plan.namespace
            title = meta["name"] if here else f"{meta['namespace']}/{meta['name']}"
            raise RouteRefused(
                f"HTTPRoute {title} sends traffic to InferencePool {plan.canary}; "
                "a canary must be a pool that serves nobody yet."
            )
    running = [each for each in workloads_of(cluster)[0] if each["metadata"]["name"] == plan.canary]
    for existing in (*running, find_pool(cluster, plan.canary)):
        if existing is not None and not is_ours(existing, plan.name) and not adopted:
            raise ClusterRefused(
                f"{existing['kind']} {plan.canary} exists and was not created by a rollout of plan "
                f"{plan.name}; choose another name for the canary, or put that pool into the routes with "
                "weight 0, and it is adopted as it is."
            )
