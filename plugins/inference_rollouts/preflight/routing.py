"""The objects that a plan moves may be moved as it says."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Phase, gateway_name, route_readiness
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.routing.claim import read_claim
from inference_rollouts.core.routing.route import rules_carrying
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.targets import route_places
from inference_rollouts.rollout.traffic import SelectPlaces

log = logging.getLogger(__name__)


def targets(moved: Sequence[tuple[Target, K8sObject]], places: SelectPlaces, run: str) -> tuple[Target, ...]:
    """What moves: nobody else claims it, and its weights can be moved safely. Raises RouteRefused."""
    for target, obj in moved:
        claim = read_claim(obj)
        if claim is not None and claim.run != run:
            raise RouteRefused(
                f"{target} is claimed by rollout {claim.run}, which gives {claim.canary} {claim.percent} %; "
                "wait for it to end, or clear its rollback task."
            )
        if claim is None:
            places(obj)
    return tuple(target for target, _ in moved)


def others(cluster: Cluster, plan: PoolPlan, targets: tuple[Target, ...]) -> tuple[str, ...]:
    """The rules that send traffic to the stable pool too and are not moved: they serve somebody else."""
    moved = {target.name for target in targets}
    others = []
    for obj in cluster.select(GATEWAY_API, "HTTPRoute"):
        name, claim = obj["metadata"]["name"], read_claim(obj)
        if name not in moved:
            ours = set()
        else:
            ours = {place.path for place in (claim.places if claim else route_places(plan, obj))}
        left = [path for path in rules_carrying(obj, plan.stable) if path not in ours]
        others += [f"rule {path.rsplit('/', 1)[1]} of HTTPRoute {name}" for path in left]
    if others:
        log.warning(
            "%s sends traffic to %s too and is not moved: the split can only be checked from above",
            ", ".join(others),
            plan.stable,
        )
    return tuple(others)


def gateway(cluster: Cluster, plan: PoolPlan, routes: tuple[Target, ...]) -> str:
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
