"""Picker pods pick while they are ready."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from lab.host.addresses import free_subnet
from lab.kube.client import Kube
from lab.kube.objects import path_of, path_of_object
from tests.support.lab.cluster import Cluster, add_node, node, running, until
from tests.support.lab.gateway_objects import pool


def test_picker_pods_pick_while_they_are_ready(tmp_path: Path) -> None:
    async def body(kube: Kube) -> None:
        address = f"{cluster.subnet}.10"
        container = {"name": "epp", "image": "x", "args": ["--pool-name=a"]}
        made: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "epp", "namespace": "default"},
            "spec": {"nodeName": "big", "containers": [container]},
        }
        labelled = {**made, "metadata": {**made["metadata"], "name": "a1", "labels": {"inference-pool": "a"}}}
        spec = pool("a")["spec"]
        kind = {"apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool"}
        await kube.apply({**kind, "metadata": {"name": "a", "namespace": "default"}, "spec": spec}, "test")
        await add_node(kube, node("big"))
        for each, where in ((made, address), (labelled, f"{cluster.subnet}.11")):
            await kube.create(path_of("Pod", "default"), each)
            status = {"status": running(each, True, where)}
            await kube.patch(path_of_object(each, "status"), status, "strategic")

        async def page() -> str:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://{address}:9090/metrics") as response:
                    return await response.text()
            return ""

        async def sees_the_pod() -> bool:
            return 'llm_d_epp_ready_endpoints{name="a"} 1' in await page()

        async def silent() -> bool:
            return not await page()

        async with aiohttp.ClientSession() as session:
            await until(sees_the_pod)
            await kube.delete(path_of_object(made), gracePeriodSeconds=0)
            await until(silent)

    cluster = Cluster(tmp_path, free_subnet(), {})
    try:
        cluster.start_apiserver()
        cluster.start_picker()
        cluster.run(body, kubelet=False)
    finally:
        for name in list(cluster.processes):
            cluster.kill(name)
