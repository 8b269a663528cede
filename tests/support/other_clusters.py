"""Clusters that serve other APIs than most."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.objects.api_groups import GKE_API, POLICY_KINDS
from tests.support.fake_cluster import FakeCluster
from tests.support.routes import ref

OLD = "inference.networking.x-k8s.io/v1alpha2"


def bound(kind: str, api: str, name: str, **spec: Any) -> dict[str, Any]:
    """What an API server holds of an object that refers to the stable pool."""
    meta = {"name": name, "namespace": "default"}
    pool = {"group": api.partition("/")[0], "kind": "InferencePool", "name": "llm-pool"}
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": {"poolRef": pool, **spec}}


def old_cluster() -> FakeCluster:
    """A cluster from before the APIs were called v1."""
    cluster = FakeCluster([ref("llm-pool", group="inference.networking.x-k8s.io")])
    cluster.served = {
        (api, kind) for api, kind in cluster.served if "inference" not in api and "llm-d" not in api
    }
    cluster.served |= {(OLD, "InferencePool"), (OLD, "InferenceModel"), (OLD, "InferenceObjective")}
    del cluster.objects["InferenceObjective", "llm-pool-standard"]
    spec = {"selector": {"inference-pool": "llm-pool"}, "targetPortNumber": 8000}
    cluster.put(OLD, "InferencePool", {"metadata": {"name": "llm-pool"}, "spec": spec})
    status = cluster.objects["InferencePool", "llm-pool"]["status"]
    status["parent"] = status.pop("parents")
    model = bound("InferenceModel", OLD, "llm-pool-model", modelName="llama-3.1-8b", criticality="Critical")
    cluster.put(OLD, "InferenceModel", model)
    return cluster


def on_gke(cluster: FakeCluster) -> FakeCluster:
    """The cluster serves GKE's policies from now on."""
    cluster.served |= {(GKE_API, kind) for kind in POLICY_KINDS}
    return cluster


def out_of_stock(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, pool: str, words: str = "GCE_STOCKOUT"
) -> FakeCluster:
    """No pod of `pool` gets a node; the autoscaler says why in these words."""
    put = cluster.put

    def without_node(api_version: str, kind: str, obj: dict[str, Any]) -> None:
        if kind == "Pod" and obj["metadata"]["name"].startswith(pool):
            obj["spec"].pop("nodeName", None)
        put(api_version, kind, obj)

    monkeypatch.setattr(cluster, "put", without_node)
    event = {"reason": "FailedScaleUp", "message": words}
    monkeypatch.setattr(cluster, "events_about", lambda obj: [event])
    return cluster
