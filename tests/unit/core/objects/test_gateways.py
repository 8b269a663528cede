"""Gateways are known by their controllers, and what is known of each is said."""

from __future__ import annotations

import pytest

from inference_rollouts.core.objects.gateways import GATEWAYS, failures, gateway_of, hints
from inference_rollouts.core.objects.parents import Parent
from tests.support.plans import ROOT


@pytest.mark.parametrize(
    ("controller", "name"),
    [
        ("networking.gke.io/gateway", "GKE Gateway"),
        ("istio.io/gateway-controller", "Istio"),
        ("kgateway.dev/kgateway", "kgateway"),
        ("gateway.envoyproxy.io/gatewayclass-controller", "Envoy Gateway"),
        ("example.com/own", None),
        ("", None),
    ],
)
def test_a_gateway_is_known_by_its_controller(controller: str, name: str | None) -> None:
    found = gateway_of(controller)
    assert (found.name if found else None) == name


def test_of_several_parents_of_a_gateway_its_failure_is_told_once() -> None:
    parents = [Parent("a", controller="istio.io/gateway-controller", section=each) for each in ("x", "y")]
    assert failures(parents).count("This is Istio:") == 1
    assert not hints([Parent("a")])


def test_what_is_no_failure_is_a_hint_beside_an_odd_split_alone() -> None:
    gke = [Parent("a", controller="networking.gke.io/gateway")]
    assert not failures(gke)
    assert "take weights over some minutes" in hints(gke)


def test_the_table_of_the_docs_has_each() -> None:
    page = (ROOT / "docs" / "stacks.md").read_text()
    for each in GATEWAYS:
        assert f"| {each.name} | `{each.controller}`" in page
