"""The life of one simulated server on one address: listen, end, stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from lab.model_server.api import Api


class ModelServer:
    """Serves an Api on its own address and port."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._runner = web.AppRunner(
            api.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )

    async def listen(self, address: str, port: int) -> int:
        """Bind and serve; returns the port, chosen by the system when `port` is 0."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def terminate(self) -> None:
        """End as vLLM does after SIGTERM; returns when the process is to be gone.

        For `--shutdown-timeout` seconds running answers go on while new ones are refused. Then, at once by
        default, connections are refused, the engine is gone, and whoever still waits for an answer waits in
        vain; the process is gone when they have left.
        """
        api = self.api
        api.completions.refusing = True
        await self._engine_gone()
        for site in list(self._runner.sites):
            await site.stop()
        if self._runner.server:
            self._runner.server.pre_shutdown()
        api.engine.stopped = True
        await api.completions.idle.wait()

    async def _engine_gone(self) -> None:
        limit, teardown = self.api.options.shutdown_timeout, self.api.image.teardown
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self.api.completions.idle.wait()
                await asyncio.sleep(limit if teardown is None else teardown)

    async def stop(self) -> None:
        """Close the socket and cut whatever is still running."""
        await self._runner.cleanup()
