"""Gateways as they differ: what each reports on a route, and how each is known to fail with two pools.

A gateway is known by the name of its controller, with which it signs what it reports.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inference_rollouts.core.objects.parents import Parent


@dataclass(frozen=True, slots=True)
class GatewayKind:
    """A gateway by the beginning of its `controller`'s name.

    `reports` are the conditions of a route that it is known to report, beside those of the Gateway API that
    all do. `failure` is how it is known to fail with several InferencePools in a rule, with what to do.
    """

    name: str
    controller: str
    reports: tuple[str, ...]
    failure: str


GATEWAYS = (
    GatewayKind(
        "GKE Gateway",
        "networking.gke.io/gateway",
        ("Reconciled",),
        "its load balancers take weights over some minutes after it has reported them; wait, and look at the "
        "route's events. It is not known to fail with two pools in a rule",
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
        "releases with kgateway-dev/kgateway#11667 answer 503 where a rule has two weighted pools. Use a "
        "newer release",
    ),
    GatewayKind(
        "Envoy Gateway",
        "gateway.envoyproxy.io/gatewayclass-controller",
        (),
        "Envoy AI Gateway asks one picker a rule; several pools with weights belong into an AIGatewayRoute",
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
    """A sentence about each known gateway among `parents`: how it fails with two pools; else empty."""
    known = dict.fromkeys(filter(None, (gateway_of(each.controller) for each in parents)))
    return " ".join(f"This is {each.name}: {each.failure}." for each in known)
