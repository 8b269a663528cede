"""Exchanges over HTTP in an event loop: very many side by side, in its one thread."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.connections import TimeLeft
from inference_rollouts.clients.exchanges import Reply
from inference_rollouts.core.limits import STORE_AT_ONCE

if TYPE_CHECKING:
    import aiohttp

REDIRECTS = (301, 302, 303, 307, 308)
KEEP_ALIVE = 75.0  # seconds that a connection is kept for the next exchange: as long as most servers keep it

T = TypeVar("T")


class Line:
    """Connections of the event loop that runs, `STORE_AT_ONCE` at once.

    What would block it goes to `threads`. `begin` may be called from any thread.
    """

    def __init__(self, threads: Executor) -> None:
        self.loop = asyncio.get_running_loop()
        self._threads = threads
        self._at_once = asyncio.Semaphore(STORE_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self._servers: dict[str, ssl.SSLContext | bool | None] = {}

    def begin(self, question: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin what asks, in the loop, once there is room for it."""
        return asyncio.run_coroutine_threadsafe(self._in_turn(question), self.loop)

    async def _in_turn(self, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._at_once:
            return await question()

    async def run(self, act: Callable[[], T]) -> T:
        """What `act` returns, or raises, in a thread."""
        return await self.loop.run_in_executor(self._threads, act)

    def leads_to(self, url: str) -> bool:
        """Whether a server is reached without a proxy: through one, threads are what goes."""
        return self._security_of(url) is not None

    async def exchange(
        self, method: str, url: str, left: TimeLeft, most: int, *, data: str, headers: Mapping[str, str]
    ) -> Reply:
        """As `exchanges.exchange`, of a server that the line `leads_to`."""
        import aiohttp  # imported on use: it takes as long as all of ours, and few processes watch many

        try:
            async with asyncio.timeout(left.left), self._asked(method, url, data, headers) as said:
                if said.status in REDIRECTS and "Location" in said.headers:
                    raise requests.ConnectionError(f"it redirects to {said.headers['Location']}")
                body = await _read(said.content, most)
                return Reply(said.status, said.reason or "", body, said.headers.get("Date"), said.headers)
        except TimeoutError as error:
            raise requests.ConnectionError(bodies.words_of(TimeoutError(), left.seconds)) from error
        except (*bodies.NETWORK_ERRORS, aiohttp.ClientError) as error:
            raise requests.ConnectionError(bodies.words_of(error, left.seconds)) from error

    def _asked(self, method: str, url: str, data: str, headers: Mapping[str, str]) -> Any:
        """A request, as aiohttp's context of its answer."""
        return self._connections().request(
            method,
            url,
            data=data.encode(),
            headers=headers,
            ssl=self._security_of(url) or False,
            allow_redirects=False,
        )

    async def close(self) -> None:
        """End all connections."""
        if self._session:
            await self._session.close()

    def _connections(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": requests.utils.default_user_agent()},
            )
        return self._session

    def _security_of(self, url: str) -> ssl.SSLContext | bool | None:
        """By what a server's certificate is verified, as of requests; None where there is a proxy."""
        server = url[: url.find("/", len("https://"))]
        if server not in self._servers:
            self._servers[server] = _security(url)
        return self._servers[server]


def _security(url: str) -> ssl.SSLContext | bool | None:
    """False: it is not verified."""
    environment = requests.Session().merge_environment_settings(url, {}, None, None, None)
    if requests.utils.select_proxy(url, environment["proxies"]):
        return None
    verify = environment["verify"]
    if not url.startswith("https:") or verify is False:
        return False
    bundle = Path(verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH)
    if bundle.is_dir():
        return ssl.create_default_context(capath=bundle)
    return ssl.create_default_context(cafile=bundle)


async def _read(content: aiohttp.StreamReader, most: int) -> bytes:
    """A whole body. Raises BodyTooLarge when it has more than `most` bytes."""
    chunks, size = [], 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > most:
            raise bodies.BodyTooLarge(f"the answer is larger than {most} bytes")
        chunks.append(chunk)
    return b"".join(chunks)
