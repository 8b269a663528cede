"""The life of one simulated server on one address: listen, drain, stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web

from lab.model_server.api import Api

LINGER = 0.5


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

    async def drain(self, grace: float, linger: float = LINGER) -> None:
        """End politely within `grace` seconds, as after SIGTERM.

        New requests are taken for `linger` seconds more, in which gateways hear of the end, and are then
        refused; those in flight are answered.
        """
        self.api.draining = True
        linger = min(linger, grace)
        await asyncio.sleep(linger)
        self.api.refusing = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self.api.idle.wait(), grace - linger)

    async def stop(self) -> None:
        """Close the socket and cut whatever is still running."""
        await self._runner.cleanup()
