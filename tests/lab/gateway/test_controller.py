"""The gateway controller with the lab's API server and a real Envoy: what is told, and what is true."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lab.gateway.controller import CONDITION_DELAY, PROPAGATION_DELAY
from lab.gateway.envoy import executable
from lab.kube.client import Kube
from lab.kube.objects import path_of, path_of_object
from tests.support.lab import gateway_objects as objects
from tests.support.lab.cluster import Cluster, add_node, condition_of, node, running, running_cluster, until

pytestmark = pytest.mark.skipif(not Path(executable()).exists(), reason="Envoy is not installed")

Obj = dict[str, Any]
ROUTE = path_of("HTTPRoute", "default", "r")
GATEWAY = path_of("Gateway", "default", "gw")
API = {
    "Gateway": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "InferencePool": "inference.networking.k8s.io/v1",
    "Service": "v1",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("gateway")) as made:
        made.start_envoy()
        made.run(lambda kube: add_node(kube, node("big")))
        yield made


class Bench:
    """A client of the API server and of the gateway, and one server for each pool `a` and `b`."""

    def __init__(self, kube: Kube, cluster: Cluster, session: aiohttp.ClientSession) -> None:
        self.kube = kube
        self.cluster = cluster
        self._session = session

    async def apply(self, made: Obj) -> Obj:
        clean = {
            name: made["metadata"][name]
            for name in ("name", "namespace", "annotations")
            if name in made["metadata"]
        }
        obj = {"apiVersion": API[made["kind"]], **made, "metadata": clean}
        return await self.kube.apply(obj, "test")

    async def weights(self, **weights: int) -> int:
        """Set the backends of the route's one rule; returns the generation."""
        backends = [objects.backend(name, weight) for name, weight in weights.items()]
        change = [{"op": "replace", "path": "/spec/rules/0/backendRefs", "value": backends}]
        return int((await self.kube.patch(ROUTE, change, "json"))["metadata"]["generation"])

    async def told(self, generation: int, path: str = ROUTE) -> dict[str, tuple[str, str, str]]:
        """The route's conditions once all of them are about `generation`."""

        async def probe() -> dict[str, tuple[str, str, str]] | None:
            parents = (await self.kube.get(path)).get("status", {}).get("parents") or []
            conditions = [each for parent in parents for each in parent["conditions"]]
            current = conditions and all(each["observedGeneration"] == generation for each in conditions)
            by_type = {each["type"]: (each["status"], each["reason"], each["message"]) for each in conditions}
            return by_type if current else None

        result: dict[str, tuple[str, str, str]] = await until(probe)
        return result

    async def pool_told(self, name: str, kind: str) -> tuple[str, str]:
        status = (await self.kube.get(path_of("InferencePool", "default", name))).get("status", {})
        parents = status.get("parents") or []
        return condition_of({"status": parents[0]}, kind) if parents else ("", "")

    async def ask(self, path: str = "/") -> str:
        """The name of the pool that answered, or the status code, or why there is no answer."""
        try:
            async with self._session.get(self.cluster.url + path) as response:
                return await response.text() if response.status == 200 else str(response.status)
        except aiohttp.ClientError as error:
            return type(error).__name__

    async def until_told(self, probe: Callable[[], Awaitable[Any]], expected: Any) -> None:
        async def same() -> bool:
            return bool(await probe() == expected)

        await until(same)

    async def until_answered(self, expected: str, path: str = "/") -> None:
        await self.until_told(lambda: self.ask(path), expected)


@asynccontextmanager
async def pod_server(kube: Kube, name: str, address: str) -> AsyncIterator[None]:
    """A ready pod of pool `name` that answers its pool's name."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, address, 8000).start()
    container = {"name": "main", "image": "x"}
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{name}", "namespace": "default", "labels": {"inference-pool": name}},
        "spec": {"nodeName": "big", "containers": [container], "terminationGracePeriodSeconds": 0},
    }
    try:
        await kube.create(path_of("Pod", "default"), made)
        status = {"status": running(made, True, address)}
        await kube.patch(path_of_object(made, "status"), status, "strategic")
        yield
    finally:
        await runner.cleanup()
        await kube.delete(path_of_object(made), gracePeriodSeconds=0)


def run(cluster: Cluster, body: Callable[[Bench], Awaitable[None]]) -> None:
    """Run `body` with a gateway, pools `a` and `b`, their servers, and a route to `a` that is in force."""

    async def main(kube: Kube) -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            pod_server(kube, "a", f"{cluster.subnet}.10"),
            pod_server(kube, "b", f"{cluster.subnet}.11"),
        ):
            bench = Bench(kube, cluster, session)
            gateway_class = {
                "apiVersion": API["Gateway"],
                "kind": "GatewayClass",
                "metadata": {"name": "lab"},
            }
            await kube.apply(
                {**gateway_class, "spec": {"controllerName": "networking.gke.io/gateway"}}, "test"
            )
            for made in (objects.gateway(), objects.service(), objects.pool("a"), objects.pool("b")):
                await bench.apply(made)
            route = await bench.apply(objects.route("r", objects.rule(objects.backend("a"))))
            await bench.told(route["metadata"]["generation"])
            await bench.until_answered("a")
            try:
                await body(bench)
            finally:
                await kube.delete(ROUTE)
                await bench.until_answered("404")

    cluster.run(main, kubelet=False)


def test_conditions_come_after_the_fact(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        for weights, expected in (({"a": 0, "b": 1}, "b"), ({"a": 1, "b": 0}, "a"), ({"b": 1}, "b")):
            generation = await bench.weights(**weights)
            told = await bench.told(generation)
            assert {await bench.ask() for _ in range(5)} == {expected}
            assert {kind: condition[0] for kind, condition in told.items()} == {
                "Accepted": "True",
                "ResolvedRefs": "True",
                "Reconciled": "True",
            }

    run(cluster, body)


def test_the_gateway_tells_its_address_and_routes(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        async def with_the_route() -> Obj | None:
            gateway = await bench.kube.get(GATEWAY)
            return gateway if gateway["status"]["listeners"][0]["attachedRoutes"] == 1 else None

        gateway = await until(with_the_route)
        assert condition_of(gateway, "Programmed") == ("True", "Programmed")
        assert gateway["status"]["addresses"] == [{"type": "IPAddress", "value": f"{cluster.subnet}.1"}]
        gateway_class = await bench.kube.get(path_of("GatewayClass", None, "lab"))
        assert condition_of(gateway_class, "Accepted")[0] == "True"
        features = [each["name"] for each in gateway_class["status"]["supportedFeatures"]]
        assert features == sorted(features)
        assert "HTTPRouteRequestPercentageMirror" in features

    run(cluster, body)


def test_a_pool_is_told_about_only_while_a_route_names_it(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        async def accepted() -> tuple[str, str]:
            return await bench.pool_told("b", "Accepted")

        assert await accepted() == ("", "")
        await bench.weights(a=1, b=0)
        await bench.until_told(accepted, ("True", "Accepted"))
        await bench.weights(a=1)
        await bench.until_told(accepted, ("", ""))

    run(cluster, body)


def test_a_backend_that_comes_later_heals_the_route(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        generation = await bench.weights(late=1)
        assert (await bench.told(generation))["ResolvedRefs"][:2] == ("False", "BackendNotFound")
        assert await bench.ask() == "500"
        await bench.apply(objects.pool("late"))
        await bench.until_answered("503")

        async def resolved() -> str:
            return (await bench.told(generation))["ResolvedRefs"][0]

        await bench.until_told(resolved, "True")
        await bench.kube.delete(path_of("InferencePool", "default", "late"))
        await bench.until_answered("500")

    run(cluster, body)


def test_a_pool_that_loses_its_picker_service(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        async def resolved() -> tuple[str, str]:
            return await bench.pool_told("a", "ResolvedRefs")

        await bench.kube.delete(path_of("Service", "default", "epp"))
        await bench.until_told(resolved, ("False", "InvalidExtensionRef"))
        assert await bench.ask() == "500"
        await bench.apply(objects.service())
        await bench.until_told(resolved, ("True", "ResolvedRefs"))
        assert await bench.ask() == "a"

    run(cluster, body)


def test_a_route_that_envoy_rejects_is_refused_alone(cluster: Cluster) -> None:
    bad = [{"path": {"type": "RegularExpression", "value": "/([a-z"}}]
    other = path_of("HTTPRoute", "default", "other")

    def at(pool: str, *matches: Obj) -> Obj:
        criteria = list(matches) or [{"path": {"type": "PathPrefix", "value": "/other"}}]
        return objects.route("other", objects.rule(objects.backend(pool), matches=criteria))

    async def body(bench: Bench) -> None:
        await bench.apply(at("b"))
        await bench.until_answered("b", "/other")
        refused = await bench.apply(at("a", *bad))
        told = await bench.told(refused["metadata"]["generation"], other)
        assert told["Accepted"][:2] == ("False", "UnsupportedValue")
        assert "missing ]" in told["Accepted"][2]
        assert told["Reconciled"][0] == "False"
        assert await bench.ask("/other") == "b"
        generation = await bench.weights(b=1)
        assert (await bench.told(generation))["Accepted"][0] == "True"
        assert await bench.ask() == "b"
        healed = await bench.apply(at("a"))
        assert (await bench.told(healed["metadata"]["generation"], other))["Accepted"][0] == "True"
        assert await bench.ask("/other") == "a"
        await bench.kube.delete(other)

    run(cluster, body)


def test_nothing_is_claimed_while_envoy_is_down(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        async def programmed() -> tuple[str, str]:
            return condition_of(await bench.kube.get(GATEWAY), "Programmed")

        with cluster.without_envoy():
            generation = await bench.weights(b=1)
            await bench.until_told(programmed, ("False", "Pending"))
            route = await bench.kube.get(ROUTE)
            observed = {c["observedGeneration"] for c in route["status"]["parents"][0]["conditions"]}
            assert observed == {generation - 1}
        assert (await bench.told(generation))["Accepted"][0] == "True"
        assert await bench.ask() == "b"
        await bench.until_told(programmed, ("True", "Programmed"))

    run(cluster, body)


def test_slow_gateways_can_be_had_by_annotation(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        delays = {PROPAGATION_DELAY: "0.5", CONDITION_DELAY: "0.5"}
        await bench.kube.patch(GATEWAY, {"metadata": {"annotations": delays}})
        await bench.told((await bench.kube.get(ROUTE))["metadata"]["generation"])
        begin = time.monotonic()
        generation = await bench.weights(b=1)
        await bench.until_answered("b")
        in_force = time.monotonic() - begin
        await bench.told(generation)
        told = time.monotonic() - begin
        assert in_force >= 0.5
        assert told >= 1.0
        await bench.kube.patch(GATEWAY, {"metadata": {"annotations": dict.fromkeys(delays)}})

    run(cluster, body)


def test_traffic_goes_on_without_controllers_and_without_an_api_server(cluster: Cluster) -> None:
    async def body(bench: Bench) -> None:
        cluster.kill("manager")
        assert await bench.ask() == "a"
        generation = await bench.weights(b=1)
        cluster.start_manager()
        await bench.told(generation)
        port = int(bench.kube.endpoint.server.rpartition(":")[2])
        cluster.kill("apiserver")
        assert await bench.ask() == "b"
        await asyncio.to_thread(cluster.start_apiserver, port)
        generation = await until(lambda: bench.weights(a=1))
        await bench.told(generation)
        assert await bench.ask() == "a"

    run(cluster, body)
