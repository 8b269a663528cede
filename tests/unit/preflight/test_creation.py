"""What a rollout will create, in the API groups that a cluster serves."""

from __future__ import annotations

from typing import Any, Never

import pytest

from inference_rollouts.core.errors import (
    PatchRefused,
)
from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight, refused
from tests.support.other_clusters import OLD, bound, old_cluster


def test_a_manifest_that_the_cluster_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()

    def refuse(manifest: K8sObject, *, dry_run: bool) -> Never:
        assert dry_run
        raise PatchRefused("The cluster refused a change of deployments/x: spec.replicas: too many")

    monkeypatch.setattr(cluster, "apply", refuse)
    refused(PatchRefused, "too many", cluster)


def test_gke_s_policies_are_applied_where_the_cluster_serves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    monkeypatch.setattr(cluster, "serves", lambda *_: True)
    manifests = {m["kind"]: m for m in preflight(cluster).manifests}
    assert {"HealthCheckPolicy", "GCPBackendPolicy", "PodMonitoring"} <= set(manifests)
    assert "annotations" not in manifests["HealthCheckPolicy"]["metadata"]
    assert manifests["GCPBackendPolicy"]["spec"]["default"]["timeoutSec"] == 300
    assert manifests["PodMonitoring"]["spec"]["targetLabels"]["fromPod"][0]["to"] == "inference_pool"


NEW = "llm-d.ai/v1alpha2"


def cluster_with(*objects: Any) -> FakeCluster:
    cluster = FakeCluster()
    for obj in objects:
        cluster.served.add((obj["apiVersion"], obj["kind"]))
        cluster.put(obj["apiVersion"], obj["kind"], obj)
    return cluster


def test_old_api_groups_only() -> None:
    """The canary pool, its route's reference and its model are all in the old group."""
    cluster = old_cluster()
    manifests = {m["kind"]: m for m in preflight(cluster).manifests}
    pool, model = manifests["InferencePool"], manifests["InferenceModel"]
    assert (pool["apiVersion"], model["apiVersion"]) == (OLD, OLD)
    assert pool["spec"]["selector"] == {"inference-pool": "llm-pool-version-2"}
    assert pool["spec"]["targetPortNumber"] == 8000
    assert pool["spec"]["extensionRef"]["name"] == "llm-pool-version-2-epp"
    assert model["metadata"]["name"] == "llm-pool-version-2-model"
    group = {"group": "inference.networking.x-k8s.io", "kind": "InferencePool"}
    assert model["spec"] == {
        "modelName": "llama-3.1-8b",
        "criticality": "Critical",
        "poolRef": group | {"name": "llm-pool-version-2"},
    }


def test_both_api_groups_installed() -> None:
    """Each object is cloned in its own group: newer pickers read the one, older ones the other."""
    rules = [{"targets": [{"modelRewrite": "llama-3.1-8b"}]}]
    cluster = cluster_with(
        bound("InferenceObjective", NEW, "llm-pool-high", priority=20),
        bound("InferenceObjective", OLD, "llm-pool-old", priority=5),
        bound("InferenceModelRewrite", NEW, "alias", rules=rules),
        bound("InferenceModelRewrite", OLD, "old-alias", rules=rules),
        bound("InferenceModel", OLD, "model", modelName="llama-3.1-8b", criticality="Standard"),
    )
    cluster.served.add((OLD, "InferencePool"))
    clones = {
        (m["apiVersion"], m["metadata"]["name"]): m
        for m in preflight(cluster).manifests
        if "poolRef" in m["spec"]
    }
    assert set(clones) == {
        (NEW, "llm-pool-version-2-standard"),
        (NEW, "llm-pool-version-2-high"),
        (OLD, "llm-pool-version-2-old"),
        (NEW, "alias-llm-pool-version-2"),
        (OLD, "old-alias-llm-pool-version-2"),
        (OLD, "model-llm-pool-version-2"),
    }
    assert clones[OLD, "llm-pool-version-2-old"]["spec"]["priority"] == 5
    assert {m["spec"]["poolRef"]["name"] for m in clones.values()} == {"llm-pool-version-2"}
    [pool] = [m for m in preflight(cluster).manifests if m["kind"] == "InferencePool"]
    assert pool["apiVersion"] == "inference.networking.k8s.io/v1", "as the pool that serves today"
