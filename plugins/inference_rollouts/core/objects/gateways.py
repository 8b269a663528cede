"""Gateways as they differ: what each reports on a route, and how each is known to fail with two pools.

A gateway is known by the name of its controller, with which it signs what it reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from inference_rollouts.core.objects.parents import Parent


@dataclass(frozen=True, slots=True)
class GatewayKind:
    """A gateway by the beginning of its `controller`'s name.

    `reports` are the conditions of a route that it is known to report, beside those of the Gateway API that
    all do. `failure` is how it is known to fail with several InferencePools in a rule, with what to do;
    empty: nobody reports that it does. `habit` is what else may explain a split that is not as declared.
    """

    name: str
    controller: str
    reports: tuple[str, ...]
    failure: str = ""
    habit: str = ""


GATEWAYS = (
    GatewayKind(
        "GKE Gateway",
        "networking.gke.io/gateway",
        ("Reconciled",),
        habit="its load balancers take weights over some minutes after it has reported them",
    ),
    GatewayKind(
        "Istio",
        "istio.io/gateway-controller",
        (),
        "releases that lack the fix of istio/istio#61594 ask one picker for both pools of a rule, and answer "
        "503 for the whole rule while one of them is empty; with several routes on a Gateway others ask the "
        "first one's picker alone (#58392). Use a newer release",
    ),
    GatewayKind(
        "kgateway",
        "kgateway.dev/kgateway",
        (),
        "it is reported to answer 503 where a rule has two weighted pools (kgateway-dev/kgateway#11667); "
        "try such a rule with pools that serve nobody first",
    ),
    GatewayKind(
        "Envoy Gateway",
        "gateway.envoyproxy.io/gatewayclass-controller",
        (),
        "releases of Envoy AI Gateway that know one pool a rule (1.0 and before) accept an HTTPRoute with "
        "two, and from then on push nothing new to their proxies, for any route (`at most one inferencepool "
        "can be referenced per route rule` in Envoy Gateway's log). Use one whose HTTPRoutes split among "
        "pools; an AIGatewayRoute takes one a rule",
    ),
)
"""Those that rollouts are known to run on. None of the failures was looked for on a live cluster."""

ALWAYS = ("Accepted", "ResolvedRefs")
"""The conditions of the Gateway API that each controller reports."""
WHERE_TOLD = tuple(dict.fromkeys(("Programmed", *(each for gateway in GATEWAYS for each in gateway.reports))))
"""Those that some report: waited for where they are told."""


def gateway_of(controller: str) -> GatewayKind | None:
    """The gateway whose controller has this name; None for one that nobody here knows."""
    return next((each for each in GATEWAYS if controller.startswith(each.controller)), None)


def failures(parents: Iterable[Parent]) -> str:
    """How the known gateways among `parents` fail with two pools in a rule; empty where none does."""
    return _sentences(parents, lambda gateway: gateway.failure)


def hints(parents: Iterable[Parent]) -> str:
    """What the known gateways among `parents` may have to do with a split that is not as declared."""
    return _sentences(parents, lambda gateway: gateway.failure or gateway.habit)


def _sentences(parents: Iterable[Parent], says: Callable[[GatewayKind], str]) -> str:
    known = dict.fromkeys(filter(None, (gateway_of(each.controller) for each in parents)))
    return " ".join(f"This is {each.name}: {words}." for each in known if (words := says(each)))
