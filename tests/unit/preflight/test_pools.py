"""The stable pool serves and can take traffic back; the canary's names are free."""

from __future__ import annotations

import pytest

from inference_rollouts.core.errors import (
    ClusterRefused,
    RouteRefused,
)
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import refused
from tests.support.other_clusters import old_cluster
from tests.support.routes import ref, route


def test_a_stable_pool_that_the_gateway_has_not_accepted() -> None:
    cluster = FakeCluster()
    cluster.objects["InferencePool", "llm-pool"]["status"]["parents"] = []
    refused(ClusterRefused, "The stable pool does not work as it is", cluster)


def test_a_stable_pool_without_ready_pods() -> None:
    cluster = FakeCluster()
    for kind, name in list(cluster.objects):
        if kind == "Pod":
            del cluster.objects[kind, name]
    refused(ClusterRefused, "no ready pod", cluster)


def test_a_stable_pool_whose_picker_is_down() -> None:
    cluster = FakeCluster()
    cluster.objects["InferencePool", "llm-pool"]["spec"]["endpointPickerRef"] = {"name": "gone"}
    refused(ClusterRefused, "The endpoint picker gone of llm-pool has no ready pod", cluster)


@pytest.mark.parametrize("kind", ["Deployment", "InferencePool"])
def test_a_canary_name_that_somebody_else_uses(kind: str) -> None:
    cluster = FakeCluster()
    cluster.put_pool("llm-pool-version-2")
    other = {"Deployment": "InferencePool", "InferencePool": "Deployment"}[kind]
    del cluster.objects[other, "llm-pool-version-2"]
    refused(ClusterRefused, f"{kind} llm-pool-version-2 exists", cluster)


def test_a_canary_that_serves_another_route() -> None:
    cluster = FakeCluster()
    other = route([ref("llm-pool-version-2")])
    other["metadata"]["name"] = "other-route"
    cluster.put("gateway.networking.k8s.io/v1", "HTTPRoute", other)
    refused(RouteRefused, "HTTPRoute other-route sends traffic to InferencePool llm-pool-version-2", cluster)


def test_the_status_of_an_old_pool_counts() -> None:
    cluster = old_cluster()
    for condition in cluster.objects["InferencePool", "llm-pool"]["status"]["parent"][0]["conditions"]:
        condition["status"] = "False"
    refused(ClusterRefused, "Accepted is False", cluster)
