"""Routes that cannot be moved safely are refused; rules that stay are named."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from inference_rollouts.core.errors import Forbidden, RouteRefused
from inference_rollouts.core.routing.claim import CLAIM, Claim, Owner, Place
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import preflight, refused
from tests.support.routes import ref, service


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([[ref("llm-pool"), service("web")]], "mixes InferencePools with other backends (web)"),
        ([[ref("llm-pool"), ref("llm-pool")]], "more than once"),
        ([[ref("llm-pool")], [ref("llm-pool"), service("web")]], "mixes InferencePools"),
        ([[ref("llm-pool", 99_991), ref("other", 1)]], "too large to be split"),
        ([[service("web")]], "no rule"),
    ],
)
def test_routes_that_cannot_be_moved(rules: list[Any], words: str) -> None:
    refused(RouteRefused, words, FakeCluster(*rules))


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (
            ref("far") | {"namespace": "prod"},
            "has InferencePools of other namespaces (prod/far), which a plan",
        ),
        (
            ref("far") | {"kind": "InferencePoolImport", "group": "inference.networking.x-k8s.io"},
            "has InferencePoolImports (far), pools of other clusters",
        ),
    ],
)
def test_pools_that_are_elsewhere(backend: dict[str, Any], words: str) -> None:
    refused(RouteRefused, words, FakeCluster([ref("llm-pool"), backend]))


KSERVE = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "LLMInferenceService", "name": "chat"}


def test_a_route_that_kserve_writes_unless_the_plan_accepts_it(caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster()
    cluster.route["metadata"]["ownerReferences"] = [KSERVE | {"controller": True}]
    refused(RouteRefused, "split by the fields of LLMInferenceService chat itself", cluster)
    preflight(cluster, accept_differences=["HTTPRoute.kserve"])
    assert "whose controller may undo the weights" in caplog.text


STICKY = {"sessionName": "chat", "type": "Cookie", "absoluteTimeout": "1h"}


GKE_FILTER = {
    "type": "ExtensionRef",
    "extensionRef": {"group": "networking.gke.io", "kind": "GCPSessionAffinityFilter", "name": "f"},
}


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ({"sessionPersistence": STICKY}, "sessionPersistence (Cookie)"),
        ({"filters": [GKE_FILTER]}, "GCPSessionAffinityFilter"),
    ],
)
def test_where_sessions_stick_it_is_said_what_that_does(
    rule: dict[str, Any], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = FakeCluster()
    cluster.route["spec"]["rules"][0] |= rule
    preflight(cluster)
    assert f"Rule 0 of HTTPRoute routes-to-llm has {what}: clients stay" in caplog.text
    assert "no independent evidence" in caplog.text


def test_a_route_that_another_rollout_claims() -> None:
    cluster = FakeCluster()
    places = (Place(path="/spec/rules/0", found=(ref("llm-pool"),)),)
    owner = Owner(run="rollout_llm/other")
    claim = Claim(token="t", owner=owner, stable="llm-pool", canary="x", steps=3, places=places, percent=25)
    notes = {CLAIM: claim.to_json()}
    cluster.route["metadata"]["annotations"] = notes
    refused(RouteRefused, "claimed by rollout rollout_llm/other, which gives x 25 %", cluster)


def test_a_route_that_names_the_pool_in_another_group() -> None:
    cluster = FakeCluster([ref("llm-pool", group="inference.networking.x-k8s.io")])
    refused(RouteRefused, "names InferencePool llm-pool of group inference.networking.x-k8s.io", cluster)


@pytest.mark.parametrize(
    ("routes", "shared"),
    [
        ("all", ()),
        ([{"name": "routes-to-llm"}, {"name": "batch"}], ()),
        ([{"name": "routes-to-llm"}], ("rule 1 of HTTPRoute batch",)),
        (
            [{"name": "routes-to-llm", "rules": ["chat"]}],
            ("rule 1 of HTTPRoute routes-to-llm", "rule 1 of HTTPRoute batch"),
        ),
    ],
)
def test_rules_that_send_traffic_to_stable_and_stay_are_named(
    routes: list[Any] | str, shared: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = FakeCluster([ref("llm-pool")], [ref("llm-pool", 3)], [ref("llm-pool", 0), ref("other")])
    cluster.route["spec"]["rules"][0]["name"] = "chat"
    cluster.put_route("batch", [service("web")], [ref("llm-pool")])
    with caplog.at_level(logging.WARNING):
        frozen = preflight(cluster, prometheus=FakePrometheus(cluster), routes=routes)
    assert frozen.shared == shared
    assert all(name in caplog.text for name in shared)


@pytest.mark.parametrize("readable", [True, False])
def test_so_are_those_of_other_namespaces_where_they_may_be_read(
    readable: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their requests are in no weight here: the canary's share is smaller than declared."""
    cluster = FakeCluster()
    for name, namespace in (("edge", "default"), ("own", "edge")):
        cluster.put_route(name, [ref("llm-pool") | {"namespace": namespace}])
        cluster.objects["HTTPRoute", name]["metadata"]["namespace"] = "edge"

    everywhere = FakeCluster.select_everywhere

    def forbidden(self: FakeCluster, api_version: str, kind: str) -> Any:
        if kind == "HTTPRoute":
            raise Forbidden("GET", "/httproutes", 403, "may not list")
        return everywhere(self, api_version, kind)

    if not readable:
        monkeypatch.setattr(FakeCluster, "select_everywhere", forbidden)
    with caplog.at_level(logging.WARNING):
        frozen = preflight(cluster, prometheus=FakePrometheus(cluster))
    assert frozen.shared == (("rule 0 of HTTPRoute edge/edge",) if readable else ())
