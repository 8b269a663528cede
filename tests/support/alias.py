"""A cluster in which an alias is split between adapters, as the plan food-review has it."""

from __future__ import annotations

from typing import Any

from tests.support.fake_cluster import OBJECTIVE_API, FakeCluster
from tests.support.routes import rewrite

URLS = [f"http://127.0.0.{number}:8000" for number in (1, 2, 3)]  # of the pods of llm-pool
PATH = "/adapters/food-review-2"
OLD_API = "inference.networking.x-k8s.io/v1alpha2"


def alias_cluster() -> FakeCluster:
    """A rewrite sends food-review to food-review-1."""
    cluster = FakeCluster()
    cluster.served.add((OBJECTIVE_API, "InferenceModelRewrite"))
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", rewrite("food-review", "food-review-1"))
    return cluster


def old_alias_cluster() -> FakeCluster:
    """An older cluster, where an InferenceModel does."""
    cluster = FakeCluster()
    cluster.served.add((OLD_API, "InferenceModel"))
    spec: dict[str, Any] = {
        "modelName": "food-review",
        "poolRef": {"name": "llm-pool"},
        "targetModels": [{"name": "food-review-1"}],
    }
    cluster.put(OLD_API, "InferenceModel", {"metadata": {"name": "food-review"}, "spec": spec})
    return cluster


def with_picker(cluster: FakeCluster, *pods: str) -> FakeCluster:
    """The same, whose pool has an endpoint picker: these pods, the one that FakePickers knows by default."""
    spec = {"selector": {"app": "llm-pool-epp"}}
    cluster.put("v1", "Service", {"metadata": {"name": "llm-pool-epp"}, "spec": spec})
    cluster.objects["InferencePool", "llm-pool"]["spec"]["endpointPickerRef"] = {"name": "llm-pool-epp"}
    for name in pods or ("llm-pool-epp-0",):
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        metadata = {"name": name, "labels": {"app": "llm-pool-epp"}}
        cluster.put("v1", "Pod", {"metadata": metadata, "status": ready})
    return cluster
