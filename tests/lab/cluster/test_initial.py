"""The objects a lab starts with: accepted by the API server, the same when applied twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cluster.initial import MANAGER, apply, initial_objects
from lab.kube.client import Kube, KubeError
from lab.kube.kubeconfig import Endpoint
from lab.kube.objects import path_of, path_of_object
from tests.support.lab.cluster import Cluster, names


def test_they_are_those_of_the_design() -> None:
    made = {(each["kind"], each["metadata"]["name"]) for each in initial_objects()}
    assert made == {
        ("Node", "gpu-node-1"),
        ("Node", "gpu-node-2"),
        ("Node", "cpu-node-1"),
        ("Deployment", "llm-pool"),
        ("Deployment", "llm-pool-epp"),
        ("Service", "llm-pool-epp"),
        ("GatewayClass", "gke-l7-regional-external-managed"),
        ("Gateway", "my-inference-gateway"),
        ("InferencePool", "llm-pool"),
        ("InferenceObjective", "llm-pool-standard"),
        ("InferenceModelRewrite", "food-review"),
        ("HTTPRoute", "routes-to-llm"),
    }


def test_applying_twice_changes_nothing(tmp_path: Path) -> None:
    async def versions(kube: Kube) -> list[str]:
        await apply(kube)
        objects = [await kube.get(path_of_object(each)) for each in initial_objects()]
        for obj in objects:
            assert {entry["manager"] for entry in obj["metadata"]["managedFields"]} == {MANAGER}
        nodes = await kube.list(path_of("Node"))
        assert names(nodes) == {"gpu-node-1", "gpu-node-2", "cpu-node-1"}
        gpus = [each["status"]["allocatable"].get("nvidia.com/gpu") for each in nodes]
        assert sorted(map(str, gpus)) == ["8", "8", "None"]
        (route,) = await kube.list(path_of("HTTPRoute", "default"))
        (backend,) = route["spec"]["rules"][0]["backendRefs"]
        assert backend["weight"] == 1
        return [obj["metadata"]["resourceVersion"] for obj in objects]

    cluster = Cluster(tmp_path, "127.0.0", {})
    try:
        cluster.start_apiserver()
        cluster.run(apply, kubelet=False)  # new nodes get a taint by admission; this apply takes it away
        first = cluster.run(versions, kubelet=False)
        assert cluster.run(versions, kubelet=False) == first
    finally:
        cluster.kill("apiserver")


def test_no_api_server_ends_in_one_sentence(tmp_path: Path) -> None:
    async def body() -> None:
        async with Kube(Endpoint("http://127.0.0.1:1", True)) as kube:
            await apply(kube, patience=0)

    with pytest.raises(KubeError):
        asyncio.run(body())
    program = [sys.executable, "-m", "lab.cluster", "--kubeconfig", str(tmp_path / "none")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
