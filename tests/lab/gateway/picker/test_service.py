"""The endpoint picker: its choices, and its place between Envoy and the pods."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("envoy.service.ext_proc.v3", reason="xds-protos is not installed")

import aiohttp
import grpc
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as rpc

from lab.gateway.compile import compile_world
from lab.gateway.envoy import executable
from lab.gateway.picker.command import pool_of
from lab.gateway.picker.load import Load, choose, parse
from lab.gateway.picker.rewrite import Decision, decide
from lab.gateway.picker.service import Picker
from lab.host.addresses import free_subnet
from lab.kube.client import Kube
from lab.kube.objects import path_of, path_of_object
from tests.lab.gateway.test_dataplane import Bench, bench
from tests.support.lab.cluster import Cluster, add_node, node, running, until
from tests.support.lab.gateway_objects import (
    backend,
    gateway,
    metadata,
    pod,
    pool,
    route,
    rule,
    service,
    world,
)

Obj = dict[str, Any]
needs_envoy = pytest.mark.skipif(not Path(executable()).exists(), reason="Envoy is not installed")


def rewrite(name: str, *rules: Obj, of: str = "a", **meta: Any) -> Obj:
    return {"metadata": metadata(name, **meta), "spec": {"poolRef": {"name": of}, "rules": list(rules)}}


def targets(**weights: int | None) -> list[Obj]:
    return [
        {"modelRewrite": name} if weight is None else {"modelRewrite": name, "weight": weight}
        for name, weight in weights.items()
    ]


def exactly(model: str) -> list[Obj]:
    return [{"model": {"type": "Exact", "value": model}}]


def shares(rewrites: list[Obj], model: str = "food") -> dict[str, float]:
    chance = Random(1)
    drawn = Counter(decide(rewrites, "a", model, chance).model for _ in range(2000))
    return {name: count / 2000 for name, count in drawn.items()}


def test_rewrites_split_by_weight() -> None:
    made = rewrite("r", {"matches": exactly("food"), "targets": targets(v1=90, v2=10)})
    assert shares([made]) == pytest.approx({"v1": 0.9, "v2": 0.1}, abs=0.03)
    assert shares([made], "other") == {"other": 1.0}


def test_targets_without_weight_share_evenly_but_not_beside_others() -> None:
    even = rewrite("r", {"targets": targets(v1=None, v2=None)})
    assert shares([even]) == pytest.approx({"v1": 0.5, "v2": 0.5}, abs=0.04)
    mixed = rewrite("r", {"targets": targets(v1=None, v2=1)})
    assert shares([mixed]) == {"v2": 1.0}


def test_exact_rules_come_before_catch_alls_and_old_before_young() -> None:
    catch_all = rewrite("all", {"targets": targets(any=1)}, creationTimestamp="2020-01-01T00:00:00Z")
    young = rewrite("young", {"matches": exactly("food"), "targets": targets(young=1)})
    old = rewrite(
        "old",
        {"matches": exactly("food"), "targets": targets(old=1)},
        creationTimestamp="2025-01-01T00:00:00Z",
    )
    assert decide([catch_all, young, old], "a", "food", Random(1)) == Decision("old", "old")
    assert decide([catch_all, young, old], "a", "wine", Random(1)) == Decision("any", "all")
    assert decide([catch_all], "b", "food", Random(1)) == Decision("food")


def test_older_clusters_split_by_inference_models() -> None:
    listed = [{"name": "v1", "weight": 3}, {"name": "v2", "weight": 1}]
    old = {"kind": "InferenceModel", "metadata": metadata("old"), "spec": {"poolRef": {"name": "a"}}}
    old["spec"] |= {"modelName": "food", "targetModels": listed}
    assert shares([old]) == pytest.approx({"v1": 0.75, "v2": 0.25}, abs=0.04)
    assert shares([old], "wine") == {"wine": 1.0}
    assert decide([old], "b", "food", Random(1)) == Decision("food")
    bare = {**old, "spec": {"poolRef": {"name": "a"}, "modelName": "food"}}
    assert decide([bare], "a", "food", Random(1)).model == "food"


def test_a_rewrite_comes_before_an_inference_model() -> None:
    spec = {"poolRef": {"name": "a"}, "modelName": "food", "targetModels": [{"name": "old"}]}
    old = {"kind": "InferenceModel", "metadata": metadata("old"), "spec": spec}
    catch_all = rewrite("new", {"targets": targets(new=1)})
    assert decide([old, catch_all], "a", "food", Random(1)) == Decision("new", "new")


def test_the_shortest_queue_wins_and_what_was_given_counts() -> None:
    loads = {"a": Load(waiting=2, running=4), "b": Load(running=3), "c": Load(running=3, cache=0.5)}
    assert choose(loads, Random(1)) == "b"
    loads["b"].given = 5
    assert choose(loads, Random(1)) == "c"
    assert choose({}, Random(1)) is None


def test_gauges_are_read_from_a_page_of_metrics() -> None:
    page = """# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 1.0
vllm:num_requests_running{engine="0",model_name="m"} 2
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:other{engine="0"} 9
"""
    assert parse(page) == Load(waiting=4, running=2, cache=0.25)
    assert parse("nonsense") == Load()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--pool-name=p", "--pool-namespace=n"], ("n", "p")),
        (["--pool-name=p"], ("default", "p")),
        (["--model=m"], None),
        (None, None),
    ],
)
def test_picker_pods_are_told_their_pool(arguments: list[str] | None, expected: Any) -> None:
    made = {"metadata": metadata("p"), "spec": {"containers": [{"args": arguments}]}}
    assert pool_of(made) == expected


class Scene:
    """Pool `a` with a picker that knows `loads` and `rewrites`."""

    def __init__(self, on: Bench) -> None:
        self.bench = on
        self.loads: dict[str, Load] = {}
        self.rewrites: list[Obj] = []
        self.picker = Picker("a", lambda: self.loads, lambda: self.rewrites, Random(1))
        self.server: grpc.aio.Server | None = None

    async def listen(self) -> None:
        address = f"{self.bench.subnet}.9"
        self.server = grpc.aio.server()
        rpc.add_ExternalProcessorServicer_to_server(self.picker, self.server)
        self.server.add_insecure_port(f"{address}:9002")
        await self.server.start()
        ready = pod("picker", "none", address)
        ready["metadata"]["labels"] = {"app": "epp"}
        self.bench.pods["picker"] = ready

    async def stop(self) -> None:
        if self.server:
            await self.server.stop(None)

    async def serve(self, failure_mode: str) -> None:
        made = pool("a")
        made["spec"]["endpointPickerRef"]["failureMode"] = failure_mode
        epp = service(selector={"app": "epp"})
        given = world(gateway(), epp, made, pool("b"), route("r", rule(backend("a"))))
        with_pickers = type(given)(given.gateways, given.routes, given.pools, given.services, True)
        await self.bench.plane.bring_to(compile_world(with_pickers))

    async def post(self, model: str) -> tuple[int, str]:
        body = {"model": model, "prompt": "hi"}
        async with self.bench.session.post(self.bench.url + "/echo", json=body) as response:
            return response.status, await response.text()


@asynccontextmanager
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with bench(tmp_path) as on, asyncio.timeout(60):
        made = Scene(on)
        for name in ("a1", "a2"):
            server = await on.add(name, "a")
            made.loads[f"{server.address}:8000"] = Load()
        await made.listen()
        try:
            yield made
        finally:
            await made.stop()


def run(tmp_path: Path, body: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        async with scene(tmp_path) as made:
            await body(made)

    asyncio.run(main())


@needs_envoy
def test_requests_go_where_the_picker_says(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.serve("FailClose")
        first, second = scene.loads
        for busy, expected in ((first, "a2"), (second, "a1")):
            scene.loads = {endpoint: Load(running=100 * (endpoint == busy)) for endpoint in (first, second)}
            for _ in range(10):
                assert (await scene.post("m")) == (200, f"{expected} m")
            assert await scene.bench.ask("/") == expected
        page = scene.picker.metrics.text(scene.loads)
        assert 'llm_d_epp_request_total{model_name="m",target_model_name="m"} 20' in page
        assert 'llm_d_epp_ready_endpoints{name="a"} 2' in page
        assert "llm_d_epp_request_error_total{" not in page

    run(tmp_path, body)


@needs_envoy
def test_the_body_names_the_rewritten_model(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.serve("FailOpen")
        long_name = "food-review-" + "x" * 500
        scene.rewrites = [
            rewrite("split", {"matches": exactly("food"), "targets": targets(**{long_name: 1})})
        ]
        status, text = await scene.post("food")
        assert (status, text.split()[1]) == (200, long_name)
        assert (await scene.post("other"))[1].split()[1] == "other"
        labels = f'model_rewrite_name="split",model_name="food",target_model="{long_name}"'
        assert f"model_rewrite_decisions_total{{{labels}}} 1" in scene.picker.metrics.text({})

    run(tmp_path, body)


@needs_envoy
@pytest.mark.parametrize(("mode", "status"), [("FailOpen", 200), ("FailClose", 503)])
def test_a_dead_picker(tmp_path: Path, mode: str, status: int) -> None:
    async def body(scene: Scene) -> None:
        await scene.serve(mode)
        assert (await scene.post("m"))[0] == 200
        await scene.stop()
        assert (await scene.post("m"))[0] == status
        del scene.bench.pods["picker"]
        scene.bench.plane.refresh_endpoints()
        assert {(await scene.post("m"))[0] for _ in range(10)} == {status}

    run(tmp_path, body)


@needs_envoy
def test_no_endpoint_is_503_and_counted(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.serve("FailOpen")
        scene.loads = {}
        assert await scene.post("m") == (503, "no endpoint of the pool is ready")
        page = scene.picker.metrics.text({})
        assert (
            'request_error_total{model_name="m",target_model_name="m",error_code="ServiceUnavailable"} 1'
            in page
        )

    run(tmp_path, body)


@needs_envoy
def test_a_choice_that_has_gone_falls_back_to_the_pool(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.serve("FailClose")
        scene.loads = {f"{scene.bench.subnet}.250:8000": Load()}
        assert (await scene.post("m"))[0] == 200

    run(tmp_path, body)


@needs_envoy
def test_bodies_that_are_no_json_pass(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        await scene.serve("FailClose")
        for data in (b"not json", json.dumps([1]).encode(), b"x" * 3_000_000):
            async with scene.bench.session.post(scene.bench.url + "/", data=data) as response:
                assert response.status == 200

    run(tmp_path, body)


def test_picker_pods_pick_while_they_are_ready(tmp_path: Path) -> None:
    async def body(kube: Kube) -> None:
        address = f"{cluster.subnet}.10"
        container = {"name": "epp", "image": "x", "args": ["--pool-name=a"]}
        made = {
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
