"""HTTPRoutes: the rules that send traffic to the stable pool, and whether they can be moved safely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.objects.api_groups import POOL_GROUPS
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.claim import Place, place_of
from inference_rollouts.core.routing.rules import rules_of
from inference_rollouts.core.routing.weights import MAX_WEIGHT, SPELLINGS, carrying, factor_for, weights_of

IMPORT = "InferencePoolImport"
MAX_BACKENDS = 16  # Gateway API: HTTPRouteRule.backendRefs maxItems

_SPELLING = SPELLINGS["HTTPRoute"]


def pool_name(ref: Mapping[str, Any], namespace: str) -> str | None:
    """The InferencePool that a backendRef names in the route's own namespace, else None."""
    where, name = pool_in(ref, namespace) or (None, None)
    return name if where == namespace else None


def rules_with(route: K8sObject, pool: str) -> dict[str, Mapping[str, Any]]:
    """The rules that name a pool, whatever its weight there, by JSON pointer."""
    return {
        path: rule
        for path, rule in rules_of(route).items()
        if any(pool_name(ref, _namespace(route)) == pool for ref in _refs(rule))
    }


def named_groups(route: K8sObject, pool: str) -> set[str]:
    """The API groups by which the rules of a route name a pool."""
    refs = (ref for rule in rules_with(route, pool).values() for ref in _refs(rule))
    return {ref["group"] for ref in refs if pool_name(ref, _namespace(route)) == pool}


def rules_carrying(route: K8sObject, pool: str, home: str | None = None) -> dict[str, Mapping[str, Any]]:
    """The rules that send requests to a pool, of namespace `home` (None: the route's), by JSON pointer."""
    own = _namespace(route)
    meant = home or own, pool

    def carries_it(refs: Sequence[Mapping[str, Any]]) -> bool:
        weighed = zip(refs, weights_of(refs, _SPELLING), strict=True)
        return any(weight > 0 and pool_in(ref, own) == meant for ref, weight in weighed)

    return {path: rule for path, rule in rules_of(route).items() if carries_it(_refs(rule))}


def carries(route: K8sObject, pool: str) -> bool:
    """Whether any rule of the route sends requests to a pool."""
    return bool(rules_carrying(route, pool))


def serving_pools(route: K8sObject, names: Sequence[str] | None = None) -> set[str]:
    """The pools to which the rules of a route send requests, only those of these `names` if given."""
    pools = (
        pool_name(ref, _namespace(route))
        for rule in rules_of(route).values()
        if names is None or rule.get("name") in names
        for ref in _refs(rule)
        if weights_of([ref], _SPELLING)[0] > 0
    )
    return {pool for pool in pools if pool is not None}


def select_places(route: K8sObject, stable: str, names: Sequence[str] | None = None) -> tuple[Place, ...]:
    """The rules to move: those that send traffic to pool `stable`, only those of these `names` if given.

    Raises RouteRefused when there is none, or none of a given name.
    """
    serving = rules_carrying(route, stable)
    chosen = {path: rule for path, rule in serving.items() if names is None or rule.get("name") in names}
    lacking = sorted(set(names or ()) - {rule.get("name") for rule in chosen.values()})
    if lacking or not chosen:
        called = f" called {', '.join(lacking)}" if lacking else ""
        raise RouteRefused(
            f"HTTPRoute {_name(route)} has no rule{called} that sends traffic to InferencePool {stable}; "
            "name the pool that serves today as `stable` in the plan."
        )
    return tuple(place_of(route, path) for path in chosen)


def check_place(route: K8sObject, place: Place, stable: str, canary: str) -> None:
    """Refuse a rule whose weights cannot be moved safely from `stable` to `canary`."""
    refs, where = place.found, f"Rule {place.path.rsplit('/', 1)[1]} of HTTPRoute {_name(route)}"
    pools = [pool_name(ref, _namespace(route)) for ref in refs]
    others = [ref["name"] for ref, pool in zip(refs, pools, strict=True) if pool is None]
    if imported := [ref["name"] for ref in refs if ref.get("kind") == IMPORT]:
        raise RouteRefused(
            f"{where} has InferencePoolImports ({', '.join(imported)}), pools of other clusters, whose pods "
            "nobody here sees: roll out in the cluster that exports them, and give the pools a rule of their "
            "own."
        )
    if away := [f"{ref['namespace']}/{ref['name']}" for ref in refs if _is_away(ref, _namespace(route))]:
        raise RouteRefused(
            f"{where} has InferencePools of other namespaces ({', '.join(away)}), which a plan cannot move: "
            f"have the route in the namespace of its pools, or give those of {_namespace(route)} a rule of "
            "their own."
        )
    if others:
        raise RouteRefused(
            f"{where} mixes InferencePools with other backends ({', '.join(others)}); gateways do not split "
            "traffic reliably between them. Give the pools a rule of their own."
        )
    if len(set(pools)) < len(pools):
        raise RouteRefused(f"{where} lists the same InferencePool more than once; list each pool once.")
    if canary in carrying(refs, _SPELLING):
        raise RouteRefused(
            f"{where} sends traffic to InferencePool {canary} already; "
            "a canary must be a pool that serves nobody yet."
        )
    if canary not in pools and len(refs) >= MAX_BACKENDS:
        raise RouteRefused(
            f"{where} has {len(refs)} backendRefs, the most there may be; remove an unused one."
        )
    if max(weights_of(refs, _SPELLING)) * factor_for(refs, stable, _SPELLING) > MAX_WEIGHT:
        raise RouteRefused(
            f"{where} has weights too large to be split by percents beside other pools; "
            "divide them by a common number."
        )


def _is_away(ref: Mapping[str, Any], namespace: str) -> bool:
    """Whether a backendRef means an InferencePool of another namespace than its route's."""
    meant = pool_in(ref, namespace)
    return meant is not None and meant[0] != namespace


def pool_in(ref: Mapping[str, Any], namespace: str) -> tuple[str, str] | None:
    """Namespace and name of the InferencePool that a route of `namespace` means by a backendRef, if any."""
    if ref.get("kind") != "InferencePool" or ref.get("group") not in POOL_GROUPS:
        return None
    return ref.get("namespace", namespace), str(ref.get("name"))


def _refs(rule: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return rule.get("backendRefs") or ()


def _name(route: K8sObject) -> str:
    return str(route["metadata"]["name"])


def _namespace(route: K8sObject) -> str:
    return str(route["metadata"].get("namespace", "default"))
