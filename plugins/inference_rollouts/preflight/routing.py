"""The objects that a plan moves may be moved as it says."""

from __future__ import annotations

import logging

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.readiness import Phase, gateway_name, route_readiness
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.routing.claim import read_record
from inference_rollouts.core.routing.route import rules_carrying
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.targets import find_targets, select_places

log = logging.getLogger(__name__)


def targets(cluster: ClusterHook, plan: Plan, run: str) -> tuple[Target, ...]:
    """What the plan moves: nobody else holds it, and its weights can be moved safely."""
    found = find_targets(cluster, plan)
    for target, thing in found:
        held = read_record(thing)
        if held is not None and held.run != run:
            raise RouteRefused(
                f"{target} is held by rollout {held.run}, which gives {held.canary} {held.percent} %; "
                "wait for it to end, or clear its rollback task."
            )
        if held is None:
            select_places(plan, thing)
    return tuple(target for target, _ in found)


def others(cluster: ClusterHook, plan: Plan, targets: tuple[Target, ...]) -> tuple[str, ...]:
    """The rules that send traffic to the stable pool too and are not moved: they serve somebody else."""
    if not isinstance(plan, PoolPlan):
        return ()
    moved = {target.name for target in targets}
    found = []
    for thing in cluster.select(GATEWAY_API, "HTTPRoute"):
        name, record = thing["metadata"]["name"], read_record(thing)
        if name not in moved:
            ours = set()
        else:
            ours = {place.path for place in (record.places if record else select_places(plan, thing))}
        left = [path for path in rules_carrying(thing, plan.stable) if path not in ours]
        found += [f"rule {path.rsplit('/', 1)[1]} of HTTPRoute {name}" for path in left]
    if found:
        log.warning(
            "%s sends traffic to %s too and is not moved: the split can only be checked from above",
            ", ".join(found),
            plan.stable,
        )
    return tuple(found)


def gateway(cluster: ClusterHook, plan: PoolPlan, routes: tuple[Target, ...]) -> str:
    """The name of the gateway that serves all routes, each of which works as it is."""
    names = set()
    for target in routes:
        route = cluster.get(target.api, target.kind, target.name)
        name = gateway_name(route, plan.gateway)
        if name is None:
            parents = ", ".join(parent["name"] for parent in route["spec"].get("parentRefs", ())) or "none"
            raise RouteRefused(
                f"{target} has the gateways {parents}; set `gateway` in the plan to one of them."
            )
        if (seen := route_readiness(route, name)).phase is not Phase.READY:
            raise RouteRefused(f"The route does not work as it is: {seen.message}.")
        names.add(name)
    if len(names) > 1:
        raise RouteRefused(
            f"The routes hang on several gateways ({', '.join(sorted(names))}); "
            "set `gateway` in the plan, or name the `routes` of one."
        )
    return names.pop()
