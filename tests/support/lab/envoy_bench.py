"""A real Envoy with its data plane, and servers for pods behind it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lab.gateway.compile import compile_world
from lab.gateway.dataplane import DataPlane
from lab.gateway.envoy import Unconfirmed, prepare
from lab.host.addresses import free_port, free_subnet
from tests.support.lab.gateway_objects import gateway, pod, pool, route, service, world

BASE = [gateway(), service(), pool("a"), pool("b")]


class Server:
    """A model server of one pod: answers its name, streams slowly on /stream, can be told to go.

    A stream's headers go out at once, its first bytes when it may `begin`, its last at its `release`.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.begin = asyncio.Event()
        self.begin.set()
        self.release = asyncio.Event()
        self.asked = 0
        self.status = 200
        self._runner: web.AppRunner | None = None

    async def start(self) -> Server:
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/stream", self._stream)
        app.router.add_post("/echo", self._echo)
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, 8000).start()
        return self

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def stop_listening(self) -> None:
        if self._runner:
            for site in list(self._runner.sites):
                await site.stop()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=self.name, status=self.status)

    async def _echo(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{self.name} {(await request.json())['model']}")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await self.begin.wait()
        await response.write(b"first ")
        await self.release.wait()
        await response.write(b"last")
        return response


class Bench:
    """An Envoy, its data plane, whose clock is `now` (s), and servers for pods of pools `a` and `b`."""

    def __init__(self, home: Path, subnet: str) -> None:
        self.home = home
        self.url = f"http://{subnet}.1:8080"
        self.subnet = subnet
        self.pods: dict[str, dict[str, Any]] = {}
        self.servers: dict[str, Server] = {}
        self.now = 0.0
        self.plane = DataPlane(home / "envoy", f"{subnet}.1", lambda _: self.pods.values(), lambda: self.now)
        self.session = aiohttp.ClientSession()

    async def add(self, name: str, of: str) -> Server:
        address = f"{self.subnet}.{10 + len(self.servers)}"
        self.servers[name] = await Server(name, address).start()
        self.pods[name] = pod(name, of, address)
        self.plane.refresh_endpoints()
        return self.servers[name]

    async def serve(self, *rules: dict[str, Any], objects: list[dict[str, Any]] | None = None) -> None:
        made = world(*(BASE if objects is None else objects), route("r", *rules))
        await self.plane.bring_to(compile_world(made))

    async def ask(self, path: str = "/", **headers: str) -> str:
        async with self.session.get(self.url + path, headers=headers) as response:
            return await response.text() if response.status == 200 else str(response.status)

    async def count(self, number: int, path: str = "/") -> Counter[str]:
        return Counter([await self.ask(path) for _ in range(number)])

    async def eventually(self, expected: str, path: str = "/") -> None:
        while await self.ask(path) != expected:  # noqa: ASYNC110 - Envoy tells nobody
            await asyncio.sleep(0.005)


@asynccontextmanager
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    subnet = free_subnet()
    argv = prepare(tmp_path, free_port())
    with (tmp_path / "envoy.log").open("w") as log:
        process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
    made = Bench(tmp_path, subnet)
    try:
        await started(made)
        yield made
    finally:
        await made.session.close()
        await made.plane.close()
        for server in made.servers.values():
            await server.stop()
        process.kill()
        await process.wait()


async def started(made: Bench) -> None:
    while True:
        try:
            await made.plane.admin.check_alive()
            return
        except Unconfirmed:
            await asyncio.sleep(0.01)
