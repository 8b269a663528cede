"""What a plan wants to try the canary with before it gets traffic: previews and a mirror."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.parents import GATEWAY_GROUP, GATEWAY_KIND, Parent
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.routing import mirror
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.preview import preview_route
from inference_rollouts.rollout.targets import route_places


def previews(cluster: Cluster, plan: PoolPlan, run: str, targets: tuple[Target, ...]) -> list[K8sObject]:
    """The preview routes, one for each route that moves. Raises RouteRefused."""
    preview = plan.preview
    if preview is None:
        return []
    moved = (cluster.get(target.api, target.kind, target.name) for target in targets)
    return [preview_route(obj, route_places(plan, obj), plan, preview, run) for obj in moved]


def check_mirror(
    cluster: Cluster, plan: PoolPlan, parents: Sequence[Parent], targets: tuple[Target, ...]
) -> None:
    """All gateways can give the canary copies of what stable gets. Raises RouteRefused or ClusterRefused."""
    if plan.mirror is None:
        return
    for target in targets:
        obj = cluster.get(target.api, target.kind, target.name)
        places = route_places(plan, obj)
        for place in places:
            mirror.check_rule(obj, place, plan.stable)
        for gateway in dict.fromkeys(each.gateway for each in parents if each.route == target.name):
            mirror.check_features(_class_of(cluster, gateway), places)


def _class_of(cluster: Cluster, gateway: Parent) -> K8sObject:
    """The GatewayClass of a route's parent, which says what its gateways can do."""
    if (gateway.group, gateway.kind) != (GATEWAY_GROUP, GATEWAY_KIND):
        raise ClusterRefused(f"{gateway} has no GatewayClass that says whether it can mirror requests.")
    live = cluster.get(GATEWAY_API, "Gateway", gateway.name, gateway.namespace)
    return cluster.get(GATEWAY_API, "GatewayClass", live["spec"]["gatewayClassName"])
