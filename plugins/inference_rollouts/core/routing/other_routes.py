"""Routes of other kinds than HTTPRoute, as GRPCRoutes: no rollout moves them, but they may lead to a pool."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inference_rollouts.core.objects.k8s import K8sObject, title_of
from inference_rollouts.core.routing.route import pool_in


def is_other_route(kind: str) -> bool:
    """Whether a kind may lead requests to a pool, and is none that rollouts write."""
    return kind.endswith("Route") and kind != "HTTPRoute"


def naming(routes: Iterable[K8sObject], pool: str, namespace: str) -> Iterator[str]:
    """The titles of those that name an InferencePool anywhere."""
    for route in routes:
        own = str(route["metadata"].get("namespace", namespace))
        if _names(route.get("spec"), own, (namespace, pool)):
            yield title_of(route)


def _names(value: Any, own: str, meant: tuple[str, str]) -> bool:
    if isinstance(value, Mapping):
        return pool_in(value, own) == meant or any(_names(each, own, meant) for each in value.values())
    return isinstance(value, list | tuple) and any(_names(each, own, meant) for each in value)
