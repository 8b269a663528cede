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
KEEP_ALIVE = 15.0  # seconds that a connection is kept for the next exchange: servers keep theirs for longer

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
        self._closed = False
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
        """Whether a server is reached from here. Through a proxy threads ask; and where settings are wrong,
        to say so."""
        return self._security_of(url) is not None

    async def exchange(
        self, method: str, url: str, left: TimeLeft, most: int, *, data: str, headers: Mapping[str, str]
    ) -> Reply:
        """As `exchanges.exchange`: of a server that the line `leads_to`, what changes nothing there."""
        import aiohttp  # imported on use: it takes as long as all of ours, and few processes watch many

        try:
            async with asyncio.timeout(left.left):
                try:
                    return await self._answered(method, url, most, data, headers)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError):
                    # A connection that was kept, and closed at this moment. What is asked changes nothing.
                    return await self._answered(method, url, most, data, headers)
        except TimeoutError as error:
            raise requests.ConnectionError(bodies.words_of(TimeoutError(), left.seconds)) from error
        except (*bodies.NETWORK_ERRORS, aiohttp.ClientError) as error:
            if isinstance(error, aiohttp.ClientSSLError):
                self._servers.pop(_server(url), None)  # by which it is verified may be another file by now
            raise requests.ConnectionError(bodies.words_of(error, left.seconds)) from error

    async def _answered(
        self, method: str, url: str, most: int, data: str, headers: Mapping[str, str]
    ) -> Reply:
        async with self._connections().request(
            method,
            url,
            data=data.encode(),
            headers=headers,
            ssl=self._security_of(url) or False,
            allow_redirects=False,
        ) as said:
            if said.status in REDIRECTS and "Location" in said.headers:
                raise requests.ConnectionError(f"it redirects to {said.headers['Location']}")
            body = await _read(said.content, most)
            return Reply(said.status, said.reason or "", body, said.headers.get("Date"), said.headers)

    async def close(self) -> None:
        """End all connections; what is asked afterwards is not."""
        self._closed = True
        if self._session:
            await self._session.close()

    def _connections(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._closed:
            raise requests.ConnectionError("nobody watches here any more")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"User-Agent": requests.utils.default_user_agent()},
            )
        return self._session

    def _security_of(self, url: str) -> ssl.SSLContext | bool | None:
        """By what a server's certificate is verified, as of requests; None where the line does not lead."""
        server = _server(url)
        if server not in self._servers:
            try:
                self._servers[server] = _security(url)
            except (OSError, ValueError):  # a bundle that is not there, or a URL that is none
                self._servers[server] = None
        return self._servers[server]


def _server(url: str) -> str:
    """A URL without its path, if it has one."""
    return "/".join(url.split("/", 3)[:3])


def _security(url: str) -> ssl.SSLContext | bool | None:
    """False: it is not verified. Raises OSError where the environment names certificates that are none."""
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
