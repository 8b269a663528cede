"""The stable pool serves and can take traffic back; the canary's names are free."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import (
    ClusterRefused,
    RouteRefused,
)
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.checks import check_now, nodes_of
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import refused, run_on
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


def test_a_canary_that_serves_a_route_of_another_namespace() -> None:
    """As a ReferenceGrant allows."""
    cluster = FakeCluster()
    other = route([ref("llm-pool-version-2") | {"namespace": "default"}])
    other["metadata"] |= {"name": "other-route", "namespace": "chat"}
    cluster.put("gateway.networking.k8s.io/v1", "HTTPRoute", other)
    refused(RouteRefused, "HTTPRoute chat/other-route sends traffic to InferencePool", cluster)


def test_a_route_of_another_namespace_may_have_a_pool_of_the_same_name_there() -> None:
    cluster = FakeCluster()
    other = route([ref("llm-pool-version-2")])
    other["metadata"] |= {"name": "other-route", "namespace": "chat"}
    cluster.put("gateway.networking.k8s.io/v1", "HTTPRoute", other)
    assert run_on(cluster)


def test_the_status_of_an_old_pool_counts() -> None:
    cluster = old_cluster()
    for condition in cluster.objects["InferencePool", "llm-pool"]["status"]["parent"][0]["conditions"]:
        condition["status"] = "False"
    refused(ClusterRefused, "Accepted is False", cluster)


def test_a_pool_with_dots_in_its_name_may_be_stable() -> None:
    cluster = FakeCluster([ref("llama-3.1-8b")])
    cluster.put_pool("llama-3.1-8b")
    frozen = run_on(cluster, stable="llama-3.1-8b").frozen
    assert ("InferencePool", "llm-pool-version-2") in {
        (each["kind"], each["metadata"]["name"]) for each in frozen.manifests
    }


def promoted(weight: int | None = 0) -> FakeCluster:
    """What a promotion leaves: the pool that it came from has no traffic, and stands in the route."""
    old, new = ref("llm-pool", weight), ref("llm-pool-2", 100)
    cluster = FakeCluster([new] if weight is None else [old, new])
    cluster.put_pool("llm-pool-2")
    return cluster


BACK: dict[str, Any] = {"stable": "llm-pool-2", "canary": "llm-pool"}


@pytest.mark.parametrize("nodes", [{"provisioner": "compute-class", "name": "spot"}, None])
def test_going_back_to_the_pool_of_before_adopts_it_and_changes_nothing_of_it(nodes: Any) -> None:
    cluster = promoted()
    run = run_on(cluster, **BACK, **({"nodes": nodes} if nodes else {}))
    frozen = Frozen.from_json(run.frozen.to_json())
    assert (frozen.adopted, frozen.manifests) == (True, ())
    assert frozen.plan.as_pool_plan.workload.replicas == 3
    assert [str(each.verdict) for each in frozen.findings] == ["taken over"]
    for check in ("nodes", "workloads", "attachment", "nodes_gone", "placement"):
        assert check_now(run, check).phase is Phase.READY, check
    nodes_of(run).request()
    assert not cluster.writes
    run.attach()
    assert set(cluster.writes) == {("HTTPRoute", "routes-to-llm"), *lease_writes(cluster)}
    assert cluster.weights() == {"llm-pool": 0, "llm-pool-2": 100}


@pytest.mark.parametrize("where", [0, 1])
def test_an_adopted_canary_has_the_filters_that_stable_has_or_it_is_said(where: int) -> None:
    cluster = promoted()
    entry = cluster.route["spec"]["rules"][0]["backendRefs"][where]
    entry["filters"] = [{"type": "RequestHeaderModifier"}]
    refused(ClusterRefused, "backendRefs.filters differs", cluster, **BACK)
    accepted = ["HTTPRoute./spec/rules/0.backendRefs.filters"]
    assert run_on(cluster, **BACK, accept_differences=accepted)


def test_an_adopted_canary_with_all_that_stable_has_takes_it_over() -> None:
    cluster = promoted()
    for entry in cluster.route["spec"]["rules"][0]["backendRefs"]:
        entry["filters"] = [{"type": "RequestHeaderModifier"}]
    findings = run_on(cluster, **BACK).frozen.findings
    assert [(each.field, str(each.verdict)) for each in findings][1:] == [
        ("/spec/rules/0.backendRefs.filters", "taken over")
    ]


def lease_writes(cluster: FakeCluster) -> set[tuple[str, str]]:
    return {each for each in cluster.writes if each[0] == "Lease"}


def test_a_pool_of_others_that_no_route_names_is_not_adopted() -> None:
    words = "put that pool into the routes with weight 0, and it is adopted as it is"
    refused(ClusterRefused, words, promoted(None), **BACK)


def test_a_pool_that_is_gone_to_nothing_is_not_adopted() -> None:
    cluster = promoted()
    cluster.scale("llm-pool", 0)
    refused(
        ClusterRefused,
        "InferencePool llm-pool has no ready pod, so it could not take traffic over",
        cluster,
        **BACK,
    )
