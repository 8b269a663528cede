"""Clusters that serve other APIs than most."""

from __future__ import annotations

from typing import Any

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
