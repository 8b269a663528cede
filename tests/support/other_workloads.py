"""Stable's servers as another kind of workload than a Deployment."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.objects.workload_kinds import LEADERS, WORKLOADS
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import STABLE


def become(cluster: FakeCluster, kind: str, name: str = STABLE) -> None:
    """The Deployment of the stable pool is one of this kind from now on, with the same pods."""
    if kind == "Deployment":
        return
    live = cluster.objects.pop(("Deployment", STABLE))
    add(cluster, kind, name, live["spec"])


def add(cluster: FakeCluster, kind: str, name: str, spec: dict[str, Any]) -> None:
    """One more workload, from the spec of a Deployment."""
    [api] = [api for api, each in WORKLOADS if each == kind]
    if kind == LEADERS:
        groups = {"workerTemplate": spec["template"]}
        spec = {"replicas": spec["replicas"], "leaderWorkerTemplate": groups}
    cluster.served.add((api, kind))
    cluster.put(api, kind, {"metadata": {"name": name}, "spec": spec})
