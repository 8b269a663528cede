"""Whether a gateway can copy a share of a rule's requests to the canary."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.routing.claim import Place
from inference_rollouts.core.routing.weights import SPELLINGS, carrying

SHARE = frozenset({"HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror"})
SEVERAL = "HTTPRouteRequestMultipleMirrors"
MOST_FILTERS = 16  # Gateway API: HTTPRouteRule.filters maxItems


def check_rule(route: K8sObject, place: Place, stable: str) -> None:
    """Refuse a rule of which the canary would get other copies than of what `stable` gets."""
    where = f"Rule {place.path.rsplit('/', 1)[1]} of HTTPRoute {route['metadata']['name']}"
    others = [name for name in carrying(place.found, SPELLINGS["HTTPRoute"]) if name != stable]
    if others:
        raise RouteRefused(
            f"{where} sends requests to {', '.join(others)} too, and a mirror would copy those as well; "
            f"give {stable} a rule of its own or take `mirror` out of the plan."
        )
    entry = next(each for each in place.found if each["name"] == stable)
    if filters := [str(each.get("type")) for each in entry.get("filters") or ()]:
        raise RouteRefused(
            f"{where} has filters in the backendRef of {stable} ({', '.join(filters)}), which copies do not "
            "pass: the canary would answer other requests than stable. Put them into the rule, or take "
            "`mirror` out of the plan."
        )
    if len(place.filters or ()) >= MOST_FILTERS:
        raise RouteRefused(
            f"{where} has {MOST_FILTERS} filters, the most there may be; take `mirror` out of the plan."
        )


def check_features(gateway_class: K8sObject, places: Sequence[Place]) -> None:
    """Refuse a gateway whose class does not say that it can mirror a share of the requests."""
    mirrored = any(each["type"] == "RequestMirror" for place in places for each in place.filters or ())
    listed = gateway_class.get("status", {}).get("supportedFeatures") or ()
    lacking = sorted((SHARE | ({SEVERAL} if mirrored else set())) - {feature["name"] for feature in listed})
    if lacking:
        raise ClusterRefused(
            f"GatewayClass {gateway_class['metadata']['name']} does not list {', '.join(lacking)} among its "
            "supported features, so nobody knows that it can mirror requests; take `mirror` out of the plan."
        )
