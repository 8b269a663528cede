"""The data plane with a real Envoy: shares, status codes, streams, rejections, no failed requests."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lab.gateway.compile import compile_world
from lab.gateway.dataplane import LINGER, DataPlane
from lab.gateway.envoy import Rejected, Unconfirmed, executable, prepare, validate
from lab.gateway.losses import LOSSES
from lab.gateway.xds import route_table
from lab.host.addresses import free_port
from tests.support.lab.envoy_bench import BASE, Bench, bench
from tests.support.lab.gateway_objects import backend, gateway, pod, route, rule, world

pytestmark = pytest.mark.skipif(not Path(executable()).exists(), reason="Envoy is not installed")

Body = Callable[["Bench"], Awaitable[None]]


def run(tmp_path: Path, body: Body) -> None:
    async def main() -> None:
        async with bench(tmp_path) as made, asyncio.timeout(60):
            await body(made)

    asyncio.run(main())


def test_shares_follow_the_weights_and_change_without_a_failure(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        await bench.add("b1", "b")
        await bench.serve(rule(backend("a")))
        assert await bench.count(20) == {"a1": 20}
        changing = True
        seen: Counter[str] = Counter()

        async def client() -> None:
            while changing:
                seen[await bench.ask()] += 1

        clients = [asyncio.create_task(client()) for _ in range(4)]
        for weight in (1, 10, 50, 90, 0, 100, 30):
            await bench.serve(rule(backend("a", 100 - weight), backend("b", weight)))
        changing = False
        await asyncio.gather(*clients)
        assert set(seen) == {"a1", "b1"}
        assert 0.24 < (await bench.count(2000))["b1"] / 2000 < 0.36

    run(tmp_path, body)


def test_requests_that_a_gateway_loses_are_counted_as_failures_of_their_pool(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        for name in ("b1", "b2"):
            await bench.add(name, "b")
        objects = [each for each in BASE if each["kind"] != "Gateway"]
        objects.append(gateway(annotations={LOSSES: "b=70"}))
        await bench.serve(rule(backend("b")), objects=objects)
        seen = await bench.count(200)
        assert 110 < seen["503"] < 170
        statistics = await bench.plane.admin.statistics(r"^cluster\.default_b\.upstream_rq_(completed|5xx)$")
        assert statistics["cluster.default_b.upstream_rq_completed"] == 200
        assert statistics["cluster.default_b.upstream_rq_5xx"] == seen["503"]
        assert sum(server.asked for server in bench.servers.values()) == 200 - seen["503"]

    run(tmp_path, body)


def test_a_new_weight_is_in_force_when_bring_to_returns(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        await bench.add("b1", "b")
        for _ in range(10):
            for name in ("a", "b"):
                await bench.serve(rule(backend("a", int(name == "a")), backend("b", int(name == "b"))))
                assert await bench.count(3) == {f"{name}1": 3}

    run(tmp_path, body)


def test_answers_without_a_backend(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        def at(path: str, *backends: dict[str, Any]) -> dict[str, Any]:
            return rule(*backends, matches=[{"path": {"type": "PathPrefix", "value": path}}])

        await bench.add("a1", "a")
        await bench.serve(
            at("/invalid", backend("a", 50), backend("gone", 50)),
            at("/empty", backend("b")),
            at("/zero", backend("a", 0), backend("b", 0)),
        )
        share = await bench.count(400, "/invalid")
        assert set(share) == {"a1", "500"}
        assert 140 < share["500"] < 260
        assert await bench.count(5, "/empty") == {"503": 5}
        assert await bench.count(5, "/zero") == {"500": 5}
        assert await bench.count(5, "/nothing") == {"404": 5}

    run(tmp_path, body)


def test_matches_and_headers(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        await bench.add("b1", "b")
        canary = {"headers": [{"name": "x-canary", "value": "yes"}]}
        exact = {"path": {"type": "Exact", "value": "/exact"}}
        await bench.serve(rule(backend("b"), matches=[canary, exact]), rule(backend("a")))
        assert await bench.ask("/any") == "a1"
        assert await bench.ask("/any", **{"x-canary": "yes"}) == "b1"
        assert await bench.ask("/exact") == "b1"
        assert await bench.ask("/exact/more") == "a1"

    run(tmp_path, body)


def test_a_share_of_the_requests_is_copied_and_clients_see_nothing_of_it(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        copies = await bench.add("b1", "b")
        copies.status = 500
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": backend("b"), "percent": 30}}
        await bench.serve(rule(backend("a"), backend("b", 0), filters=[mirror]))
        assert await bench.count(1000) == {"a1": 1000}
        assert 230 < copies.asked < 370
        await bench.serve(rule(backend("a"), backend("b", 0)))
        before = copies.asked
        assert await bench.count(100) == {"a1": 100}
        assert copies.asked == before

    run(tmp_path, body)


def test_a_route_that_asks_for_a_header_more_wins_over_an_older_one(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        await bench.add("b1", "b")
        long, short = ({"path": {"type": "PathPrefix", "value": value}} for value in ("/v1", "/"))
        header = {"type": "Exact", "name": "x-preview", "value": "canary"}
        preview = rule(backend("b"), matches=[{**each, "headers": [header]} for each in (long, short)])
        live = rule(backend("a"), matches=[long, short])
        young = route("preview", preview, creationTimestamp="2031-01-01T00:00:00Z")
        await bench.plane.bring_to(compile_world(world(*BASE, young, route("r", live))))
        for path in ("/", "/v1/models"):
            assert await bench.ask(path) == "a1"
            assert await bench.ask(path, **{"X-Preview": "canary"}) == "b1"
            assert await bench.ask(path, **{"x-preview": "other"}) == "a1"

    run(tmp_path, body)


def test_pods_come_and_go_without_a_failure_and_streams_end_whole(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        leaving = await bench.add("a1", "a")
        await bench.serve(rule(backend("a")))
        async with bench.session.get(bench.url + "/stream") as stream:
            assert await stream.content.readexactly(6) == b"first "
            await bench.add("a2", "a")
            bench.pods["a1"]["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
            bench.plane.refresh_endpoints()
            await bench.eventually("a2")
            assert await bench.count(50) == {"a2": 50}
            await leaving.stop_listening()
            leaving.release.set()
            assert await stream.content.read() == b"last"

    run(tmp_path, body)


def test_a_stream_outlives_its_route_and_its_cluster(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        old = await bench.add("a1", "a")
        await bench.add("b1", "b")
        await bench.serve(rule(backend("a")))
        async with bench.session.get(bench.url + "/stream") as stream:
            assert await stream.content.readexactly(6) == b"first "
            for gone in (False, True):
                await bench.serve(rule(backend("b")))
                assert ("default_a" not in (bench.home / "envoy/cds.json").read_text()) is gone
                bench.now += LINGER
            assert await bench.count(20) == {"b1": 20}
            old.release.set()
            assert await stream.content.read() == b"last"

    run(tmp_path, body)


def test_a_dead_endpoint_costs_no_request(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        bench.pods["dead"] = pod("dead", "a", f"{bench.subnet}.200")
        await bench.serve(rule(backend("a")))
        assert await bench.count(50) == {"a1": 50}

    run(tmp_path, body)


def test_a_rejected_update_leaves_traffic_and_later_updates_alone(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        await bench.add("b1", "b")
        await bench.serve(rule(backend("a")))
        bad = {"path": {"type": "RegularExpression", "value": "(["}}
        with pytest.raises(Rejected):
            await bench.serve(rule(backend("b"), matches=[bad]))
        assert await bench.count(5) == {"a1": 5}
        await bench.serve(rule(backend("b")))
        assert await bench.count(5) == {"b1": 5}
        with pytest.raises(Rejected):
            await bench.serve(rule(backend("b"), matches=[bad]))

    run(tmp_path, body)


def test_validation_names_the_fault(tmp_path: Path) -> None:
    def table(regex: str) -> dict[str, Any]:
        match = {"safe_regex": {"regex": regex}}
        return route_table(1, {"*": [((1,), {"match": match, "direct_response": {"status": 200}})]})

    assert asyncio.run(validate(tmp_path, table("(["))) == "missing ]: ["
    assert asyncio.run(validate(tmp_path, table("/v1.*"))) is None


def test_envoy_keeps_its_configuration_when_it_starts_again(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        await bench.add("a1", "a")
        await bench.serve(rule(backend("a")))
        fresh = DataPlane(bench.home / "envoy", f"{bench.subnet}.1", lambda _: bench.pods.values())
        await fresh.bring_to(compile_world(world(*BASE, route("r", rule(backend("a"))))))
        assert await bench.count(5) == {"a1": 5}
        await fresh.close()

    run(tmp_path, body)


def test_no_envoy_is_reported(tmp_path: Path) -> None:
    async def body() -> None:
        plane = DataPlane(tmp_path / "envoy", "127.0.0.1", lambda _: [])
        plan = compile_world(world(*BASE, route("r", rule(backend("a")))))
        with pytest.raises(Unconfirmed):
            await plane.bring_to(plan)
        prepare(tmp_path, free_port())
        with pytest.raises(Unconfirmed):
            await plane.bring_to(plan)
        await plane.close()

    asyncio.run(body())


def test_random_worlds_always_end_in_the_last_one(tmp_path: Path) -> None:
    async def body(bench: Bench) -> None:
        numbers = random.Random(7)
        await bench.add("a1", "a")
        await bench.add("b1", "b")
        for _ in range(30):
            chosen = numbers.sample(["a", "b", "gone"], numbers.randint(1, 3))
            await bench.serve(rule(*[backend(each, numbers.randint(0, 3)) for each in chosen]))
        for _ in range(2):
            await bench.serve(rule(backend("b", 5)))
            bench.now += LINGER
        assert await bench.count(10) == {"b1": 10}
        assert sorted(path.name for path in (bench.home / "envoy/eds").iterdir()) == ["default_b.json"]

    run(tmp_path, body)
