"""The preview: routes of our own that lead requests with one header to the canary, and no others.

A live route is never ours to write, so each route that moves gets a second one beside it, which differs in
header and backend alone. A gateway prefers it where both match, because it matches one header more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.objects.k8s import LONGEST_NAME, K8sObject, annotations_of
from inference_rollouts.core.objects.ownership import is_ours
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.plan.trial import Preview
from inference_rollouts.core.routing.claim import Place
from inference_rollouts.core.routing.rules import rules_of
from inference_rollouts.core.run.manifests import digest, owned

PREVIEW = "inference-rollouts.dev/preview"
RUN = "inference-rollouts.dev/run"
"""The annotation that says which run a preview is of."""


def preview_route(
    route: K8sObject, places: Sequence[Place], plan: PoolPlan, preview: Preview, run: str
) -> K8sObject:
    """The preview of the rules of `route` that move, as they were found, for `run`.

    Raises RouteRefused when one of them looks at the header itself.
    """
    meta = {
        "name": _name(route["metadata"]["name"], plan.canary),
        "namespace": plan.namespace,
        "labels": {PREVIEW: plan.canary},
        "annotations": {RUN: run},
    }
    rules = [_rule(route, place, plan, preview) for place in places]
    manifest = {
        "apiVersion": route["apiVersion"],
        "kind": route["kind"],
        "metadata": meta,
        "spec": {**route["spec"], "rules": rules},
    }
    return owned(manifest, plan.name)


def is_preview(route: K8sObject) -> bool:
    """Whether a route is the preview of some rollout."""
    return PREVIEW in (route["metadata"].get("labels") or {})


def is_preview_of(route: K8sObject, plan: str, run: str | None = None) -> bool:
    """Whether a route is the preview of a rollout of this plan, of this run if one is given."""
    return is_preview(route) and is_ours(route, plan) and run in (None, run_of(route))


def run_of(route: K8sObject) -> str | None:
    """The run that a preview is of."""
    return annotations_of(route).get(RUN) if is_preview(route) else None


def _rule(route: K8sObject, place: Place, plan: PoolPlan, preview: Preview) -> dict[str, Any]:
    live = rules_of(route)[place.path]
    rule = {key: value for key, value in live.items() if key != "filters"}
    if place.filters:
        rule["filters"] = list(place.filters)
    stable = next(entry for entry in place.found if entry["name"] == plan.stable)
    backend = {key: value for key, value in stable.items() if key != "weight"} | {"name": plan.canary}
    live_matches: Sequence[K8sObject] = live.get("matches") or ({},)
    matches = [_match(route, place, match, preview) for match in live_matches]
    return {**rule, "matches": matches, "backendRefs": [backend]}


def _match(route: K8sObject, place: Place, match: K8sObject, preview: Preview) -> dict[str, Any]:
    headers = list(match.get("headers") or ())
    if any(header["name"].lower() == preview.header.lower() for header in headers):
        where = f"Rule {place.path.rsplit('/', 1)[1]} of HTTPRoute {route['metadata']['name']}"
        raise RouteRefused(
            f"{where} looks at the header {preview.header} itself; choose another `preview.header`."
        )
    return {**match, "headers": [*headers, {"type": "Exact", "name": preview.header, "value": preview.value}]}


def _name(route: str, canary: str) -> str:
    name = f"{route}-{canary}-preview"
    if len(name) <= LONGEST_NAME:
        return name
    tail = f"-{digest(route)[:8]}-{canary}-preview"
    return route[: LONGEST_NAME - len(tail)].rstrip("-.") + tail
