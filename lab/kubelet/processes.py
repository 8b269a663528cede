"""What runs inside a container: a simulated model server, or something that only listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from aiohttp import web

from lab.model_server.api import Api
from lab.model_server.errors import ProtocolError
from lab.model_server.images import Catalogue, Image, Kind
from lab.model_server.options import OptionsError, StartError, parse_options
from lab.model_server.server import ModelServer

FAULTS_VARIABLE = "LAB_FAULTS"
TERMINATED = 143
KILLED = 137


class Exit(NamedTuple):
    """How a process ended; status 0 is success."""

    status: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """Everything a process is started with. `scale` multiplies load and warm-up times."""

    image: Image
    catalogue: Catalogue
    arguments: Sequence[str]
    environment: Mapping[str, str]
    ports: Sequence[int]
    address: str
    pod: str
    pool: str
    scale: float
    accelerator: str = ""


class Process:
    """A process that `run` starts; cancelling `run` kills it as `kill` does, `terminate` asks it to end."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._asked_to_end = asyncio.Event()
        self._killed = asyncio.Event()
        self._gone = asyncio.Event()

    def terminate(self) -> None:
        """SIGTERM."""
        self._asked_to_end.set()

    def kill(self) -> None:
        """SIGKILL."""
        self._killed.set()

    async def gone(self, seconds: float) -> None:
        """Return when the process has ended, or so many seconds are over."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), seconds)

    async def run(self) -> Exit:
        """Runs until the process ends."""
        living = asyncio.ensure_future(self._live())
        killed = asyncio.ensure_future(self._killed.wait())
        try:
            await asyncio.wait((living, killed), return_when=asyncio.FIRST_COMPLETED)
            return living.result() if living.done() else Exit(KILLED, "killed")
        finally:
            living.cancel()
            killed.cancel()
            await asyncio.gather(living, killed, return_exceptions=True)
            self._gone.set()

    async def _live(self) -> Exit:
        image = self._command.image
        try:
            async with asyncio.timeout(image.crash_after):
                if await self._loading():
                    return await self._serve()
                return Exit(TERMINATED)
        except TimeoutError:
            return Exit(1, "the image crashes after a while")
        except (OptionsError, StartError, ProtocolError, ValueError) as error:
            return Exit(2 if isinstance(error, OptionsError) else 1, str(error))
        except OSError as error:
            return Exit(1, f"cannot listen: {error}")

    async def _loading(self) -> bool:
        """Wait while the model loads; False when asked to end meanwhile."""
        image = self._command.image
        load = None if image.never_ready else image.load * self._command.scale
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked_to_end.wait(), load)
        return not self._asked_to_end.is_set()

    async def _serve(self) -> Exit:
        match self._command.image.kind:
            case Kind.VLLM:
                return await self._serve_model()
            case Kind.PICKER:
                await self._asked_to_end.wait()
                return Exit(0)
            case Kind.PLAIN:
                return await self._answer_ok()

    async def _serve_model(self) -> Exit:
        command = self._command
        options = parse_options(command.arguments, command.environment)
        timing = command.image.timing.on(command.catalogue.accelerator(command.accelerator))
        timing = replace(timing, warmup_extra=timing.warmup_extra * command.scale)
        image = replace(command.image, timing=timing)
        api = Api(image, options, command.catalogue, command.pod, command.pool)
        faults = json.loads(command.environment.get(FAULTS_VARIABLE) or "{}")
        api.completions.faults = api.completions.faults.changed(faults)
        server = ModelServer(api)
        try:
            await server.listen(command.address, options.port)
            await _first(self._asked_to_end, api.crashed)
            if api.crashed.is_set():
                return Exit(KILLED, "killed")
            await server.terminate()
        finally:
            await server.stop()
        return Exit(0)

    async def _answer_ok(self) -> Exit:
        app = web.Application()
        app.router.add_get("/{path:.*}", _ok)
        runner = web.AppRunner(app, access_log=None)
        try:
            await runner.setup()
            for port in self._command.ports:
                await web.TCPSite(runner, self._command.address, port).start()
            await self._asked_to_end.wait()
        finally:
            await runner.cleanup()
        return Exit(0)


async def _first(*events: asyncio.Event) -> None:
    """Return when one of these has happened."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")
