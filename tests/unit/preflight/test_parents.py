"""Before anything moves: all parents that serve the routes are found, and none of them has an objection."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.preflight import pools, routing, trial
from tests.support.fake_cluster import GATEWAY_API
from tests.support.read_only_cluster import Objects, pool, routed, says, target

INFRA, OTHER = {"name": "gw", "namespace": "infra"}, {"name": "public", "namespace": "infra"}
HTTP, HTTPS = {**INFRA, "sectionName": "http"}, {**INFRA, "sectionName": "https"}


def plan(gateway: str | None = None) -> Any:
    pool_of = {"stable": "llm-pool", "namespace": "default", "pool_of": lambda side: side}
    return SimpleNamespace(gateway=gateway, mirror=object(), **pool_of)


def found(*routes: dict[str, Any], gateway: str | None = None) -> list[str]:
    targets = tuple(target(each["metadata"]["name"]) for each in routes)
    parents = routing.parents(Objects(*routes), plan(gateway), targets)
    return [f"{each.route}: {each}" for each in parents]


def test_all_parents_that_accept_the_routes_are_found_on_several_gateways_too() -> None:
    first, second = (
        routed([HTTP, HTTPS], says(HTTP), says(HTTPS)),
        routed([OTHER], says(OTHER), name="second"),
    )
    assert found(first, second) == [
        "routes-to-llm: Gateway infra/gw, listener http",
        "routes-to-llm: Gateway infra/gw, listener https",
        "second: Gateway infra/public",
    ]


def test_how_a_gateway_is_known_to_fail_with_two_pools_is_said_before_there_are_two(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = routed([INFRA], says(INFRA) | {"controllerName": "istio.io/gateway-controller"})
    found(live)
    assert "This is Istio: releases that lack the fix of istio/istio#61594" in caplog.text


def test_a_listener_that_refuses_the_route_is_told_and_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    live = routed([HTTP, HTTPS], says(HTTP, Accepted="False"), says(HTTPS))
    with caplog.at_level(logging.WARNING):
        assert found(live) == ["routes-to-llm: Gateway infra/gw, listener https"]
    assert "not accepted by Gateway infra/gw, listener http, which" in caplog.text


def test_the_plan_s_gateway_narrows_whose_word_counts() -> None:
    live = routed([INFRA, OTHER], says(INFRA, ResolvedRefs="False"), says(OTHER))
    assert found(live, gateway="public") == ["routes-to-llm: Gateway infra/public"]
    with pytest.raises(RouteRefused, match="ResolvedRefs is False at Gateway infra/gw"):
        found(live)
    with pytest.raises(RouteRefused, match="has the gateways gw, public; set `gateway` in the plan"):
        found(live, gateway="none")


@pytest.mark.parametrize(
    ("live", "words"),
    [
        (routed([INFRA], says(INFRA, Reconciled="False")), r"Reconciled is False at .* infra/gw \(R: words"),
        (routed([INFRA], says(INFRA, generation=0)), "Gateway infra/gw has not seen generation 1"),
        (routed([INFRA], says(INFRA, Accepted="False")), "Accepted is False at Gateway infra/gw"),
        (routed([INFRA], says(OTHER)), "Gateway infra/gw has not reported Accepted yet"),
        (routed([]), "has the gateways none; give it a parentRef"),
    ],
)  # fmt: skip
def test_a_route_that_does_not_work_as_it_is_is_refused_with_the_gateway_s_words(
    live: dict[str, Any], words: str
) -> None:
    with pytest.raises(RouteRefused, match=words):
        found(live)


def test_the_stable_pool_must_work_at_every_gateway() -> None:
    parents = tuple(Parent(each["name"], "infra") for each in (INFRA, OTHER))
    pools.check_stable(Objects(*pool("llm-pool", says(INFRA), says(OTHER))), plan(), parents)
    refusing = Objects(*pool("llm-pool", says(INFRA), says(OTHER, Reconciled="False")))
    with pytest.raises(ClusterRefused, match="Reconciled is False at Gateway infra/public"):
        pools.check_stable(refusing, plan(), parents)
    with pytest.raises(ClusterRefused, match="Gateway infra/public has not reported"):
        pools.check_stable(Objects(*pool("llm-pool", says(INFRA))), plan(), parents)


def test_a_stable_pool_that_could_not_take_traffic_back_is_refused() -> None:
    live = Objects(*pool("llm-pool"))
    pools.check_stable(live, plan(), ())
    live.remove("Pod", "llm-pool-epp")
    with pytest.raises(ClusterRefused, match="FailClose drops all requests"):
        pools.check_stable(live, plan(), ())
    live.remove("Pod")
    with pytest.raises(ClusterRefused, match="has no ready pod, so it could not take traffic back"):
        pools.check_stable(live, plan(), ())


def gateway(name: str, of_class: str, namespace: str = "infra") -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    return {
        "apiVersion": GATEWAY_API,
        "kind": "Gateway",
        "metadata": meta,
        "spec": {"gatewayClassName": of_class},
    }


def gateway_class(name: str, *features: str) -> dict[str, Any]:
    listed = [{"name": each} for each in features]
    meta = {"name": name}
    return {
        "apiVersion": GATEWAY_API,
        "kind": "GatewayClass",
        "metadata": meta,
        "status": {"supportedFeatures": listed},
    }


def check_mirror(*parents: Parent, can: tuple[str, ...] = ()) -> None:
    live = Objects(
        routed([INFRA, OTHER]),
        gateway("gw", "second", "elsewhere"),
        gateway("gw", "able"),
        gateway("public", "second"),
        gateway_class("able", "HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror"),
        gateway_class("second", *can),
    )
    wanted: Any = SimpleNamespace(stable="llm-pool", canary="new", routes="all", mirror=object())
    trial.check_mirror(live, wanted, parents, (target(),))


def test_every_gateway_of_a_route_must_be_able_to_mirror() -> None:
    first = Parent("gw", "infra", section="https", route="routes-to-llm")
    second = Parent("public", "infra", route="routes-to-llm")
    check_mirror(first)
    with pytest.raises(ClusterRefused, match="GatewayClass second does not list"):
        check_mirror(first, second)
    check_mirror(first, second, can=("HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror"))
    strange = Parent("x", "infra", kind="InferenceGateway", route="routes-to-llm")
    with pytest.raises(ClusterRefused, match="InferenceGateway infra/x has no GatewayClass"):
        check_mirror(first, strange)


def test_who_else_writes_a_route_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    live = routed([INFRA], says(INFRA))
    live["metadata"]["managedFields"] = [
        {"manager": "argocd-controller", "fieldsV1": {"f:spec": {"f:rules": {}}}}
    ]
    with caplog.at_level(logging.WARNING):
        routing.warn_of_writers([(target(), live)], 0.0)
    assert (
        "Argo CD (field manager argocd-controller) owns the rules of HTTPRoute routes-to-llm" in caplog.text
    )
