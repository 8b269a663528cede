"""Which objects a plan moves: the HTTPRoutes that name the stable pool, or what splits an adapter's alias."""

from __future__ import annotations

import logging
from typing import assert_never

from inference_rollouts.clients.kubernetes import Cluster, Reader
from inference_rollouts.core.errors import Forbidden, RouteRefused
from inference_rollouts.core.objects.api_groups import (
    BOUND_KINDS,
    EXTENSION_APIS,
    GATEWAY_API,
    POOL_APIS,
    SPLITTING_KINDS,
)
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan
from inference_rollouts.core.routing import rewrite, route
from inference_rollouts.core.routing.claim import Place
from inference_rollouts.core.routing.other_routes import is_other_route
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.preview import is_preview

log = logging.getLogger(__name__)


def find_pool(cluster: Reader, name: str) -> K8sObject | None:
    """The InferencePool of that name, in the newest API that has one; None where none has."""
    pools = (cluster.find(api, "InferencePool", name) for api in POOL_APIS)
    return next((pool for pool in pools if pool is not None), None)


def bound_to(cluster: Cluster, pool: str) -> list[K8sObject]:
    """The objectives, rewrites and models that refer to a pool, of every API group the cluster serves."""
    return [
        obj
        for kind in BOUND_KINDS
        for api in EXTENSION_APIS
        if cluster.serves(api, kind)
        for obj in cluster.select(api, kind)
        if obj["spec"].get("poolRef", {}).get("name") == pool
    ]


def claimable_objects(cluster: Cluster) -> list[K8sObject]:
    """Every object of the namespace that a rollout could claim, routes first."""
    kinds = [(GATEWAY_API, "HTTPRoute"), *((api, kind) for kind in SPLITTING_KINDS for api in EXTENSION_APIS)]
    served = [(api, kind) for api, kind in kinds if cluster.serves(api, kind)]
    return [obj for api, kind in served for obj in cluster.select(api, kind)]


def other_routes(cluster: Cluster) -> list[K8sObject]:
    """Routes of all kinds that no rollout moves, which the cluster serves and which may be read here."""
    found: list[K8sObject] = []
    for api, kind in cluster.extensions().kinds:
        try:
            found += cluster.select(api, kind) if is_other_route(kind) else ()
        except Forbidden as error:
            log.warning("whether a %s names a pool is not known: %s", kind, error)
    return found


def routes_of(cluster: Cluster, plan: PoolPlan) -> list[tuple[Target, K8sObject]]:
    """The HTTPRoutes that a plan moves, in the order in which they are written.

    Raises RouteRefused when there are none.
    """
    if plan.routes == "all":
        live = cluster.select(GATEWAY_API, "HTTPRoute")
        routes = [each for each in live if route.carries(each, plan.stable) and not is_preview(each)]
    else:
        routes = _named_routes(cluster, plan, [ref.name for ref in plan.routes])
    if not routes:
        raise RouteRefused(
            f"No HTTPRoute in namespace {plan.namespace} sends traffic to InferencePool {plan.stable}; "
            "name the pool that serves today as `stable` in the plan."
        )
    return [(Target(GATEWAY_API, "HTTPRoute", each["metadata"]["name"]), each) for each in routes]


def route_places(plan: PoolPlan, obj: K8sObject) -> tuple[Place, ...]:
    """The rules of a route that a plan moves. Raises RouteRefused when they cannot be moved safely."""
    name, names = obj["metadata"]["name"], None
    if plan.routes != "all":
        names = next(ref.rules for ref in plan.routes if ref.name == name)
    places = route.select_places(obj, plan.stable, names)
    for place in places:
        route.check_place(obj, place, plan.stable, plan.canary)
    return places


def splitter_of(cluster: Cluster, plan: AdapterPlan) -> tuple[Target, K8sObject]:
    """The newest kind of object that splits the alias. Raises RouteRefused when it is unclear which."""
    obj, _ = rewrite.select_target(_splitters(cluster, plan), plan.pool, plan.alias, plan.stable)
    return Target(obj["apiVersion"], obj["kind"], obj["metadata"]["name"]), obj


def serving_today(cluster: Cluster, plan: Plan) -> set[str]:
    """What has the traffic that a plan moves: pools, or adapters. Raises RouteRefused where a route lacks."""
    match plan:
        case AdapterPlan():
            return rewrite.serving_models(_splitters(cluster, plan), plan.pool, plan.alias)
        case PoolPlan():
            refs = () if plan.routes == "all" else plan.routes
            live = _named_routes(cluster, plan, [ref.name for ref in refs])
            return {
                pool
                for ref, each in zip(refs, live, strict=True)
                for pool in route.serving_pools(each, ref.rules)
            }
        case _:
            assert_never(plan)


def _splitters(cluster: Cluster, plan: AdapterPlan) -> list[K8sObject]:
    splitters: list[K8sObject] = []
    for kind in SPLITTING_KINDS:
        for api in EXTENSION_APIS:
            if not splitters and cluster.serves(api, kind):
                live = cluster.select(api, kind)
                splitters = [each for each in live if rewrite.splits_alias(each, plan.pool, plan.alias)]
    return splitters


def alias_places(plan: AdapterPlan, obj: K8sObject) -> tuple[Place, ...]:
    """The rule by which an object splits the alias. Raises RouteRefused when it cannot be moved safely."""
    _, place = rewrite.select_target([obj], plan.pool, plan.alias, plan.stable)
    rewrite.check_target(obj, place, plan.stable, plan.canary)
    return (place,)


def _named_routes(cluster: Cluster, plan: PoolPlan, names: list[str]) -> list[K8sObject]:
    by_name = {name: cluster.find(GATEWAY_API, "HTTPRoute", name) for name in names}
    if missing := [name for name, live in by_name.items() if live is None]:
        raise RouteRefused(f"There is no HTTPRoute {', '.join(missing)} in namespace {plan.namespace}.")
    return [live for live in by_name.values() if live is not None]
