"""Policies that keep clients at a backend are told from those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.routing.stickiness import of_policy


@pytest.mark.parametrize(
    ("kind", "spec", "sticky"),
    [
        ("GCPBackendPolicy", {"default": {"sessionAffinity": {"type": "GENERATED_COOKIE"}}}, True),
        ("GCPBackendPolicy", {"default": {"sessionAffinity": {"type": "NONE"}}}, False),
        ("GCPBackendPolicy", {"default": {"timeoutSec": 300}}, False),
        ("GCPSessionAffinityPolicy", {"statefulGeneratedCookie": {"cookieTtlSeconds": 30}}, True),
        ("BackendLBPolicy", {"sessionPersistence": {"sessionName": "s"}}, True),
        (
            "DestinationRule",
            {"trafficPolicy": {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}},
            True,
        ),
        ("DestinationRule", {"trafficPolicy": {"tls": {"mode": "SIMPLE"}}}, False),
    ],
)
def test_what_keeps_clients_is_known(kind: str, spec: dict[str, Any], sticky: bool) -> None:
    sentence = of_policy({"kind": kind, "metadata": {"name": "p"}, "spec": spec})
    assert bool(sentence) is sticky
    assert not sticky or "Take it away while the rollout runs" in sentence
