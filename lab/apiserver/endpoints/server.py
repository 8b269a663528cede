"""The server process: certificates, the listening socket, the kubeconfig, and chores in the background."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from pathlib import Path

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from lab.apiserver.endpoints import certificates
from lab.apiserver.endpoints.router import MOST_BODY_BYTES, Router
from lab.apiserver.registry.cluster import Cluster

ADDRESS = "127.0.0.1"
SYNC_SECONDS = 1.0
SWEEP_SECONDS = 0.25


class Server:
    """Serves one state directory on the loopback address."""

    def __init__(self, directory: Path, definitions: Path | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.cluster = Cluster(directory, definitions)
        self.router = Router(self.cluster)

    async def start(self, port: int) -> str:
        """Listens on a port (0: a free one), writes the kubeconfig, returns the URL."""
        authority, certificate, key = certificates.ensure(self.directory, ADDRESS)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server = web.Server(self.router.handle, access_log=None, request_factory=_request)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        await web.TCPSite(self._runner, ADDRESS, port, ssl_context=context).start()
        self.router.descriptions.address = f"{ADDRESS}:{self._runner.addresses[0][1]}"
        url = f"https://{self.router.descriptions.address}"
        self._chores = [
            asyncio.create_task(self._sync_often()),
            asyncio.create_task(self._sweep_often()),
        ]
        token = self.cluster.authenticator.file.admin()
        write_kubeconfig(self.directory / "kubeconfig", url, authority, token)
        return url

    async def stop(self) -> None:
        """Ends watches and connections; everything written is on disk then."""
        for chore in self._chores:
            chore.cancel()
        await self.router.close()
        await self._runner.cleanup()
        self.cluster.store.close()

    async def _sync_often(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            descriptor = self.cluster.store.unsynced()
            if descriptor is not None:
                await loop.run_in_executor(None, _bring_to_disk, descriptor)

    async def _sweep_often(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.cluster.sweep()


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request whose body may be as large as Kubernetes allows."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MOST_BODY_BYTES)


def _bring_to_disk(descriptor: int) -> None:
    os.fsync(descriptor)
    os.close(descriptor)


def write_kubeconfig(path: Path, url: str, authority: Path, token: str) -> None:
    """Writes a kubeconfig for the lab's administrator, at once or not at all."""
    trusted = base64.b64encode(authority.read_bytes()).decode()
    context = {"cluster": "lab", "user": "lab-admin", "namespace": "default"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": url, "certificate-authority-data": trusted}}],
        "users": [{"name": "lab-admin", "user": {"token": token}}],
        "contexts": [{"name": "lab", "context": context}],
        "current-context": "lab",
    }
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(document, indent=2))
    fresh.replace(path)
