"""The endpoint picker in its place between Envoy and the pods."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as rpc  # type: ignore[import-untyped]

from lab.gateway.compile import compile_world
from lab.gateway.envoy import executable
from lab.gateway.picker.load import Load
from lab.gateway.picker.service import Picker
from tests.support.lab.envoy_bench import Bench, bench
from tests.support.lab.gateway_objects import (
    backend,
    exactly,
    gateway,
    pod,
    pool,
    rewrite,
    route,
    rule,
    service,
    targets,
    world,
)

Obj = dict[str, Any]

needs_envoy = pytest.mark.skipif(not Path(executable()).exists(), reason="Envoy is not installed")


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

    async def serve(self, failure_mode: str, to: str = "a") -> None:
        made = pool("a")
        made["spec"]["endpointPickerRef"]["failureMode"] = failure_mode
        epp = service(selector={"app": "epp"})
        given = world(gateway(), epp, made, pool("b"), route("r", rule(backend(to))))
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
@pytest.mark.parametrize("picker_stays", [True, False])
def test_the_first_token_of_a_stream_comes_with_its_body(tmp_path: Path, picker_stays: bool) -> None:
    async def body(scene: Scene) -> None:
        await scene.serve("FailOpen")
        server = scene.bench.servers["a1"]
        scene.loads = {f"{server.address}:8000": Load()}
        server.begin.clear()
        asked = {"model": "m", "stream": True}
        async with scene.bench.session.post(scene.bench.url + "/stream", json=asked) as stream:
            assert stream.status == 200
            await asyncio.sleep(0.3)
            assert _value(scene, "ttft_seconds_count") == 0
            server.begin.set()
            assert await stream.content.readexactly(6) == b"first "
            assert _value(scene, "ttft_seconds_count") == 1
            assert _value(scene, "ttft_seconds_sum") > 0.3
            if not picker_stays:
                await scene.stop()
            server.release.set()
            assert await stream.content.read() == b"last"
        while picker_stays and _value(scene, "duration_seconds_count") == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    run(tmp_path, body)


def _value(scene: Scene, name: str) -> float:
    series = f'llm_d_epp_request_{name}{{model_name="m",target_model_name="m"}} '
    found = [line for line in scene.picker.metrics.text({}).splitlines() if line.startswith(series)]
    return float(found[0].split()[-1]) if found else 0.0


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
def test_a_request_whose_picker_still_thinks_outlives_its_route(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        thinks, decided, process = asyncio.Event(), asyncio.Event(), scene.picker.Process

        async def slowly(*asked: Any) -> AsyncIterator[Any]:
            async for each in process(*asked):
                if each.WhichOneof("response") == "request_body":
                    thinks.set()
                    await decided.wait()
                yield each

        scene.picker.Process = slowly  # type: ignore[method-assign, assignment]
        await scene.stop()
        await scene.listen()
        await scene.serve("FailClose")
        asking = asyncio.create_task(scene.post("m"))
        await thinks.wait()
        await scene.serve("FailClose", to="b")
        decided.set()
        assert (await asking)[0] == 200

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
