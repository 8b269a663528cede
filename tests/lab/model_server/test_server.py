"""How a server ends."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from lab.model_server.timing import Timing
from tests.support.lab.model_server import Server, run, serving, until

SLOW = Timing(prefill_base=0.05, inter_token=0.01, warmup_extra=0.0, noise=0.0)
LONG = {"max_tokens": 100, "ignore_eos": True}


async def refuses(server: Server) -> bool:
    """Whether a new connection is refused."""
    try:
        async with aiohttp.ClientSession() as session, session.get(server.url + "/health"):
            return False
    except aiohttp.ClientConnectorError:
        return True


async def begin(server: Server) -> asyncio.Task[tuple[int, Any]]:
    """A request that is running."""
    request = asyncio.create_task(server.complete(**LONG))
    await until(lambda: server.api.engine.running == 1)
    return request


def test_by_default_nobody_gets_anything_more() -> None:
    async def scenario() -> None:
        async with serving(timing=SLOW) as server:
            request = await begin(server)
            ending = asyncio.create_task(server.server.terminate())
            await until(lambda: server.api.engine.stopped)
            assert await refuses(server)
            done, _ = await asyncio.wait([request, ending], timeout=1.5)
            assert not done, "the client waits in vain, and so does the process for it"
            request.cancel()
            await asyncio.wait_for(ending, 60)

    run(scenario)


def test_with_a_shutdown_timeout_answers_are_finished_and_new_ones_refused() -> None:
    async def scenario() -> None:
        async with serving("--shutdown-timeout", "3", timing=SLOW) as server:
            request = await begin(server)
            began = asyncio.get_running_loop().time()
            ending = asyncio.create_task(server.server.terminate())
            await until(lambda: server.api.completions.refusing)
            for stream in (False, True):
                status, body = await server.complete(stream=stream)
                assert (status, body["error"]["type"]) == (500, "InternalServerError")
                assert body["error"]["message"] == "cannot schedule new futures after shutdown"
            status, body = await request
            assert (status, body["usage"]["completion_tokens"]) == (200, 100)
            for path in ("/health", "/v1/models"):
                assert (await server.get(path))[0] == 200
            http = 'http_requests_total{handler="/v1/completions",method="POST",status="5xx"}'
            assert await server.metric(http) == 2
            await asyncio.wait_for(ending, 60)
            assert 2.9 < asyncio.get_running_loop().time() - began < 5
            assert await refuses(server)

    run(scenario)


def test_an_engine_that_ends_when_it_has_nothing_to_do_ends_its_server() -> None:
    async def scenario() -> None:
        async with serving("--shutdown-timeout", "60", timing=SLOW, teardown=0.1) as server:
            request = await begin(server)
            ending = asyncio.create_task(server.server.terminate())
            assert (await request)[0] == 200
            assert not ending.done()
            await asyncio.wait_for(ending, 60)
            assert await refuses(server)

    run(scenario)


def test_a_stream_that_outlasts_the_timeout_gets_nothing_more() -> None:
    async def scenario() -> None:
        async with serving("--shutdown-timeout", "0.3", timing=SLOW) as server:
            request = await begin(server)
            ending = asyncio.create_task(server.server.terminate())
            await until(lambda: server.api.engine.stopped)
            assert await refuses(server)
            request.cancel()
            await asyncio.wait_for(ending, 60)

    run(scenario)
