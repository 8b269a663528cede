"""Which objects a plan moves: the HTTPRoutes that name the stable pool, or what splits an adapter's alias."""

from __future__ import annotations

from inference_rollouts.clients.kubernetes import ClusterHook, Object
from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.objects.api_groups import (
    BOUND_KINDS,
    EXTENSION_APIS,
    GATEWAY_API,
    POOL_APIS,
    SPLITTING_KINDS,
)
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan
from inference_rollouts.core.routing import rewrite, route
from inference_rollouts.core.routing.claim import Place
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.preview import is_preview


def find_pool(cluster: ClusterHook, name: str) -> Object | None:
    """The InferencePool of that name, in the newest API that has one; None where none has."""
    pools = (cluster.find(api, "InferencePool", name) for api in POOL_APIS)
    return next((pool for pool in pools if pool is not None), None)


def bound_to(cluster: ClusterHook, pool: str) -> list[Object]:
    """The objectives, rewrites and models that refer to a pool, of every API group the cluster serves."""
    return [
        thing
        for kind in BOUND_KINDS
        for api in EXTENSION_APIS
        if cluster.serves(api, kind)
        for thing in cluster.select(api, kind)
        if thing["spec"].get("poolRef", {}).get("name") == pool
    ]


def find_targets(cluster: ClusterHook, plan: Plan) -> list[tuple[Target, Object]]:
    """The objects that a plan moves, as they are now, in the order in which they are written.

    Raises RouteRefused when there are none.
    """
    if isinstance(plan, AdapterPlan):
        return [_splitter(cluster, plan)]
    routes = _routes(cluster, plan)
    if not routes:
        raise RouteRefused(
            f"No HTTPRoute in namespace {plan.namespace} sends traffic to InferencePool {plan.stable}; "
            "name the pool that serves today as `stable` in the plan."
        )
    return [(Target(GATEWAY_API, "HTTPRoute", thing["metadata"]["name"]), thing) for thing in routes]


def select_places(plan: Plan, thing: Object) -> tuple[Place, ...]:
    """The rules of an object that the plan moves. Raises RouteRefused when they cannot be moved safely."""
    if isinstance(plan, AdapterPlan):
        _, place = rewrite.select_target([thing], plan.pool, plan.alias, plan.stable)
        rewrite.check_target(thing, place, plan.stable, plan.canary)
        return (place,)
    places = route.select_places(thing, plan.stable, _rule_names(plan, thing["metadata"]["name"]))
    for place in places:
        route.check_place(thing, place, plan.stable, plan.canary)
    return places


def _routes(cluster: ClusterHook, plan: PoolPlan) -> list[Object]:
    if plan.routes == "all":
        routes = cluster.select(GATEWAY_API, "HTTPRoute")
        return [thing for thing in routes if route.carries(thing, plan.stable) and not is_preview(thing)]
    found = {ref.name: cluster.find(GATEWAY_API, "HTTPRoute", ref.name) for ref in plan.routes}
    if missing := [name for name, thing in found.items() if thing is None]:
        raise RouteRefused(f"There is no HTTPRoute {', '.join(missing)} in namespace {plan.namespace}.")
    return [thing for thing in found.values() if thing is not None]


def _rule_names(plan: PoolPlan, name: str) -> tuple[str, ...] | None:
    return None if plan.routes == "all" else next(ref.rules for ref in plan.routes if ref.name == name)


def _splitter(cluster: ClusterHook, plan: AdapterPlan) -> tuple[Target, Object]:
    """The newest kind of object that splits the alias."""
    things: list[Object] = []
    for kind in SPLITTING_KINDS:
        for api in EXTENSION_APIS:
            if not things and cluster.serves(api, kind):
                things = [
                    thing
                    for thing in cluster.select(api, kind)
                    if rewrite.splits_alias(thing, plan.pool, plan.alias)
                ]
    thing, _ = rewrite.select_target(things, plan.pool, plan.alias, plan.stable)
    return Target(thing["apiVersion"], thing["kind"], thing["metadata"]["name"]), dict(thing)
