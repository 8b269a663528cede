"""The objects that a plan moves may be moved as it says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import Forbidden, RouteRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.gateways import failures
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.parents import Parent, accepting, parents_of
from inference_rollouts.core.objects.readiness import Phase, route_readiness
from inference_rollouts.core.objects.writers import KSERVE, warnings, written_by_kserve
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.routing import stickiness
from inference_rollouts.core.routing.claim import read_claim
from inference_rollouts.core.routing.other_routes import naming
from inference_rollouts.core.routing.route import rules_carrying
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.targets import other_routes, route_places
from inference_rollouts.rollout.traffic import SelectPlaces

log = logging.getLogger(__name__)


def targets(moved: Sequence[tuple[Target, K8sObject]], places: SelectPlaces) -> tuple[Target, ...]:
    """What moves: nobody claims it, and its weights can be moved safely. Raises RouteRefused."""
    for target, obj in moved:
        claim = read_claim(obj)
        if claim is not None:
            raise RouteRefused(
                f"{target} is claimed by rollout {claim.owner.run}, which gives {claim.canary} "
                f"{claim.percent} %; wait for it to end, or end it: clear its rollback task, or run "
                "`inference-rollouts restore`."
            )
        places(obj)
    return tuple(target for target, _ in moved)


def others(cluster: Cluster, plan: PoolPlan, targets: tuple[Target, ...]) -> tuple[str, ...]:
    """What sends traffic to the stable pool too and is not moved: rules that serve somebody else, and routes
    of other kinds.
    """
    moved = {target.name for target in targets}
    others = []
    for obj in all_routes(cluster):
        name, namespace = obj["metadata"]["name"], obj["metadata"].get("namespace", plan.namespace)
        is_here = namespace == plan.namespace
        ours = {place.path for place in route_places(plan, obj)} if is_here and name in moved else set()
        left = [path for path in rules_carrying(obj, plan.stable, plan.namespace) if path not in ours]
        title = name if is_here else f"{namespace}/{name}"
        others += [f"rule {path.rsplit('/', 1)[1]} of HTTPRoute {title}" for path in left]
    others += naming(other_routes(cluster), plan.stable, plan.namespace)
    if others:
        log.warning(
            "%s sends traffic to %s too and is not moved: the split can only be checked from above",
            ", ".join(others),
            plan.stable,
        )
    return tuple(others)


def all_routes(cluster: Cluster) -> list[K8sObject]:
    """The HTTPRoutes of all namespaces, any of which may name a pool; where they may be read."""
    try:
        return cluster.select_everywhere(GATEWAY_API, "HTTPRoute")
    except Forbidden as error:
        log.info("only routes of the plan's namespace are looked at: %s", error)
        return cluster.select(GATEWAY_API, "HTTPRoute")


def parents(cluster: Cluster, plan: PoolPlan, routes: tuple[Target, ...]) -> tuple[Parent, ...]:
    """The parents that accept the routes, only those named as the plan's `gateway` if it has one.

    Raises RouteRefused unless each route works as it is on all of them.
    """
    found = tuple(
        parent
        for target in routes
        for parent in _accepting(target, cluster.get(target.api, target.kind, target.name), plan.gateway)
    )
    if sentence := failures(found):
        log.warning("%s A rollout puts two pools into a rule.", sentence)
    return found


def warn_of_stickiness(
    moved: Sequence[tuple[Target, K8sObject]], places: SelectPlaces, policies: Iterable[K8sObject]
) -> None:
    """Say where clients are kept at the pool that they had, and what that does to a rollout."""
    for _, obj in moved:
        for sentence in stickiness.of_route(obj, [place.path for place in places(obj)]):
            log.warning("%s", sentence)
    for sentence in filter(None, map(stickiness.of_policy, policies)):
        log.warning("%s", sentence)


def check_owners(moved: Sequence[tuple[Target, K8sObject]], accepted: Sequence[str]) -> None:
    """Raises RouteRefused for a route that KServe's controllers write, unless the plan accepts it."""
    for _, obj in moved:
        if (sentence := written_by_kserve(obj)) and KSERVE not in accepted:
            raise RouteRefused(f"{sentence} Or say `accept_differences: [{KSERVE}]` in the plan.")


def warn_of_writers(moved: Sequence[tuple[Target, K8sObject]], now: float) -> None:
    """Say who else writes what moves, and may undo its weights."""
    for _, obj in moved:
        for sentence in warnings(obj, now):
            log.warning("%s", sentence)


def _accepting(target: Target, route: K8sObject, wanted: str | None) -> tuple[Parent, ...]:
    """The parents that accept a route and count. Raises RouteRefused."""
    named = [parent for parent in parents_of(route) if wanted in (None, parent.name)]
    if not named:
        names = ", ".join(dict.fromkeys(parent.name for parent in parents_of(route)))
        todo = "set `gateway` in the plan to one of them" if names else "give it a parentRef"
        raise RouteRefused(f"{target} has the gateways {names or 'none'}; {todo}.")
    accepted = tuple(parent for parent in accepting(route) if wanted in (None, parent.name))
    seen = route_readiness(route, accepted or named)
    if seen.phase is not Phase.READY:
        raise RouteRefused(f"The route does not work as it is: {seen.message}.")
    references = {parent.reference for parent in accepted}
    if idle := [str(parent) for parent in named if parent not in references]:
        log.warning("%s is not accepted by %s, which are not asked", target, "; ".join(idle))
    return accepted
