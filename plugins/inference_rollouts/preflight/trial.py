"""What a plan wants to try the canary with before it gets traffic: previews and a mirror."""

from __future__ import annotations

from inference_rollouts.clients.kubernetes import ClusterHook, Object
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.routing import claim as hold
from inference_rollouts.core.routing import mirror
from inference_rollouts.core.routing.claim import Place
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.manifests import Manifest
from inference_rollouts.core.run.preview import preview_route
from inference_rollouts.rollout.targets import select_places


def previews(cluster: ClusterHook, plan: PoolPlan, run: str, targets: tuple[Target, ...]) -> list[Manifest]:
    """The preview routes, one for each route that moves. Raises RouteRefused."""
    preview = plan.preview
    if preview is None:
        return []
    moved = (cluster.get(target.api, target.kind, target.name) for target in targets)
    return [preview_route(thing, _places(plan, thing, run), plan, preview, run) for thing in moved]


def check_mirror(
    cluster: ClusterHook, plan: PoolPlan, run: str, gateway: str, targets: tuple[Target, ...]
) -> None:
    """The gateway can give the canary copies of what stable gets. Raises RouteRefused or ClusterRefused."""
    if plan.mirror is None:
        return
    for target in targets:
        thing = cluster.get(target.api, target.kind, target.name)
        places = _places(plan, thing, run)
        for place in places:
            mirror.check_rule(thing, place, plan.stable)
        parent = next(each for each in thing["spec"]["parentRefs"] if each["name"] == gateway)
        live = cluster.get(GATEWAY_API, "Gateway", gateway, parent.get("namespace"))
        mirror.check_features(
            cluster.get(GATEWAY_API, "GatewayClass", live["spec"]["gatewayClassName"]), places
        )


def _places(plan: PoolPlan, thing: Object, run: str) -> tuple[Place, ...]:
    """The rules that move, as they were found."""
    held = hold.is_held_by(thing, run)
    return hold.held_record(thing, run).places if held else select_places(plan, thing)
