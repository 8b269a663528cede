"""Previews and mirrors: what is frozen, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.run import preview as core
from inference_rollouts.core.run.preview import PREVIEW
from tests.support.fake_cluster import GATEWAY_API, FakeCluster
from tests.support.freezing import preflight, refused
from tests.support.plans import RUN
from tests.support.routes import ref, route, service

PREVIEW_NAME = "routes-to-llm-llm-pool-version-2-preview"

MIRROR = {"percent": 25, "bake": "1s"}


def test_a_preview_is_frozen_beside_each_route_that_moves() -> None:
    cluster = FakeCluster([ref("llm-pool")], [service("web")])
    second = route([ref("llm-pool")])
    second["metadata"] |= {"name": "second", "uid": "u-9"}
    second["spec"] |= {"parentRefs": [{"name": "my-inference-gateway", "sectionName": "https"}]}
    cluster.put(GATEWAY_API, "HTTPRoute", second)
    (parent,) = cluster.objects["HTTPRoute", "second"]["status"]["parents"]
    parent["parentRef"] = second["spec"]["parentRefs"][0]
    frozen = preflight(cluster, routes="all", preview={"header": "x-try", "value": "me"})
    assert not cluster.writes
    assert [each["metadata"]["name"] for each in frozen.previews] == [
        PREVIEW_NAME,
        "second-llm-pool-version-2-preview",
    ]
    for each, parents in zip(frozen.previews, (cluster.route, second), strict=True):
        assert each["spec"]["parentRefs"] == parents["spec"]["parentRefs"]
        (rule,) = each["spec"]["rules"]
        assert rule["backendRefs"] == [ref("llm-pool-version-2")]
        assert rule["matches"][0]["headers"] == [{"type": "Exact", "name": "x-try", "value": "me"}]


def left_behind(cluster: FakeCluster, run: str = RUN) -> dict[str, Any]:
    """The preview of a run that died."""
    (preview,) = preflight(cluster, preview={}).previews
    manifest = dict(preview)
    manifest["metadata"]["annotations"][core.RUN] = run
    cluster.put(GATEWAY_API, "HTTPRoute", manifest)
    return manifest


def test_what_a_dead_run_left_is_taken_over() -> None:
    cluster = FakeCluster()
    left_behind(cluster, "rollout_llm/dead")
    (again,) = preflight(cluster, preview={}).previews
    assert again["metadata"]["annotations"] == {core.RUN: RUN}


def test_a_preview_of_the_stable_pool_is_no_route_to_move() -> None:
    cluster = FakeCluster()
    manifest = left_behind(cluster)
    manifest["spec"]["rules"][0]["backendRefs"] = [ref("llm-pool")]
    assert [target.name for target in preflight(cluster, routes="all").targets] == ["routes-to-llm"]


def test_a_route_of_others_with_the_preview_s_name_is_not_overwritten() -> None:
    cluster = FakeCluster()
    other = route([service("web")])
    other["metadata"]["name"] = PREVIEW_NAME
    cluster.put(GATEWAY_API, "HTTPRoute", other)
    refused(ClusterRefused, f"HTTPRoute {PREVIEW_NAME} exists and is not this plan's", cluster, preview={})


def test_a_rule_that_looks_at_the_header_itself() -> None:
    cluster = FakeCluster()
    cluster.route["spec"]["rules"][0]["matches"] = [{"headers": [{"name": "X-Preview", "value": "old"}]}]
    refused(RouteRefused, "looks at the header x-preview itself", cluster, preview={})


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ((), "does not list HTTPRouteRequestMirror, HTTPRouteRequestPercentageMirror"),
        (("HTTPRouteRequestMirror",), "does not list HTTPRouteRequestPercentageMirror"),
    ],
)
def test_a_gateway_that_does_not_say_that_it_mirrors(features: tuple[Any, ...], words: str) -> None:
    cluster = FakeCluster()
    cluster.objects["GatewayClass", "managed"]["status"] = {
        "supportedFeatures": [{"name": name} for name in features]
    }
    refused(ClusterRefused, words, cluster, mirror=MIRROR)


def test_a_second_mirror_needs_a_gateway_that_does_several() -> None:
    cluster = FakeCluster()
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": service("audit")}}
    cluster.route["spec"]["rules"][0]["filters"] = [mirror]
    refused(ClusterRefused, "HTTPRouteRequestMultipleMirrors", cluster, mirror=MIRROR)


@pytest.mark.parametrize(
    ("filters", "refs", "words"),
    [
        ([], [ref("llm-pool"), ref("other")], "sends requests to other too"),
        ([{"type": "RequestHeaderModifier"}] * 16, [ref("llm-pool")], "has 16 filters"),
        ([], [ref("llm-pool") | {"filters": [{"type": "URLRewrite"}]}], "which copies do not pass"),
    ],
)
def test_rules_that_cannot_be_mirrored(filters: list[Any], refs: list[Any], words: str) -> None:
    cluster = FakeCluster(refs)
    cluster.route["spec"]["rules"][0]["filters"] = filters
    refused(RouteRefused, words, cluster, mirror=MIRROR)


@pytest.fixture
def filters(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The filters of the route after each patch of it, and the routes that existed then."""
    seen, patch = [], cluster.patch

    def watched(api: str, kind: str, name: str, ops: Any) -> K8sObject:
        answer = patch(api, kind, name, ops)
        rule = answer["spec"]["rules"][0]
        seen.append((cluster.weights(), [f["type"] for f in rule.get("filters", ())], previews(cluster)))
        return answer

    monkeypatch.setattr(cluster, "patch", watched)
    return seen


def previews(cluster: FakeCluster) -> list[str]:
    return [
        name
        for (kind, name), obj in cluster.objects.items()
        if kind == "HTTPRoute" and PREVIEW in obj["metadata"].get("labels", {})
    ]
