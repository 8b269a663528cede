"""Runs the pickers of a cluster: every pod that is told `--pool-name` picks, on its own address."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import aiohttp
import grpc  # type: ignore[import-untyped]
from aiohttp import web
from envoy.service.ext_proc.v3 import external_processor_pb2_grpc as rpc  # type: ignore[import-untyped]

from lab.gateway.model import Target
from lab.gateway.picker.command import GRPC_PORT, METRICS_PORT, pool_of
from lab.gateway.picker.load import Watcher
from lab.gateway.picker.service import Picker
from lab.gateway.xds import endpoints
from lab.kube.objects import Obj, key_of
from lab.reconcile.store import Store

log = logging.getLogger(__name__)

REWRITES = ("InferenceModelRewrite", "InferenceModel")  # the older kind may be one that the cluster lacks
KINDS = ("Pod", "InferencePool", *REWRITES)
LINGER = 1.0  # a picker that is told to end goes on for so long, until Envoy has heard of its end


@dataclass
class Running:
    """One picker pod at work."""

    uid: str
    watcher: Watcher
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    server: grpc.aio.Server | None = None
    runner: web.AppRunner | None = None

    async def stop(self) -> None:
        """Stop serving; requests that are being decided are cut, as when a pod dies."""
        for task in self.tasks:
            task.cancel()
        if self.server:
            await self.server.stop(None)
        if self.runner:
            await self.runner.cleanup()


class PickerPods:
    """Reconciles picker pods with servers. Must `run` inside an event loop.

    A picker listens before its pod is ready; whether it is asked, readiness decides at the gateway.
    """

    def __init__(self, store: Store, session: aiohttp.ClientSession) -> None:
        self._store = store
        self._session = session
        self._running: dict[tuple[str, str], Running] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._dirty = asyncio.Event()
        for kind in ("Pod", "InferencePool"):
            store.on_change(kind, lambda _: self._dirty.set())

    async def run(self) -> None:
        """Work until cancelled, then stop every picker."""
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                await self._reconcile()
        finally:
            for running in self._running.values():
                await running.stop()
            for leaving in self._leaving:
                leaving.cancel()

    async def _reconcile(self) -> None:
        wanted = {key_of(pod): pod for pod in self._store["Pod"].items.values() if _picks(pod)}
        for key, running in list(self._running.items()):
            if key not in wanted or wanted[key]["metadata"]["uid"] != running.uid:
                self._retire(self._running.pop(key))
        for key, pod in wanted.items():
            if key not in self._running and (started := await self._start(pod)):
                self._running[key] = started
            if key in self._running and (pool := pool_of(pod)):
                self._running[key].watcher.follow(self._endpoints(pool))

    def _retire(self, running: Running) -> None:
        async def linger() -> None:
            try:
                await asyncio.sleep(LINGER)
            finally:
                await running.stop()

        leaving = asyncio.create_task(linger())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _endpoints(self, pool: tuple[str, str]) -> set[str]:
        obj = self._store["InferencePool"].get(*pool)
        if obj is None:
            return set()
        labels = tuple(obj["spec"]["selector"]["matchLabels"].items())
        ports = tuple(port["number"] for port in obj["spec"]["targetPorts"])
        target = Target(pool[1], pool[0], labels, ports)
        return {f"{address}:{port}" for address, port in endpoints(target, self._store["Pod"].list(pool[0]))}

    def _rewrites(self, namespace: str) -> list[Obj]:
        return [rewrite for kind in REWRITES for rewrite in self._store[kind].list(namespace)]

    async def _start(self, pod: Obj) -> Running | None:
        """Serve for one pod; None if its ports are taken, which is tried again when pods change."""
        namespace, pool = pool_of(pod) or ("", "")
        running = Running(pod["metadata"]["uid"], Watcher(self._session))
        picker = Picker(pool, lambda: running.watcher.loads, lambda: self._rewrites(namespace))
        name, address = pod["metadata"]["name"], pod["status"]["podIP"]
        try:
            running.runner = await _serve_metrics(picker, running.watcher, address)
            running.server = grpc.aio.server()
            rpc.add_ExternalProcessorServicer_to_server(picker, running.server)
            running.server.add_insecure_port(f"{address}:{GRPC_PORT}")
            await running.server.start()
        except (OSError, RuntimeError) as error:
            log.warning("picker %s cannot listen: %s", name, error)
            await running.stop()
            return None
        running.tasks.append(asyncio.create_task(running.watcher.run()))
        log.info("picker %s of pool %s/%s listens on %s", name, namespace, pool, address)
        return running


def _picks(pod: Obj) -> bool:
    status = pod.get("status", {})
    here = "deletionTimestamp" not in pod["metadata"] and bool(status.get("podIP"))
    return here and status.get("phase") in ("Pending", "Running") and pool_of(pod) is not None


async def _serve_metrics(picker: Picker, watcher: Watcher, address: str) -> web.AppRunner:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text=picker.metrics.text(watcher.loads))

    app = web.Application()
    app.add_routes([web.get("/metrics", page)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, METRICS_PORT).start()
    return runner
