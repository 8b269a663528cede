"""How a server ends."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from lab.model_server.faults import Faults
from lab.model_server.timing import Timing
from tests.support.lab.model_server import run, serving, until


def test_a_drain_takes_requests_for_a_moment_then_refuses_and_finishes_streams() -> None:
    async def scenario() -> None:
        slow = Timing(prefill_base=0.05, inter_token=0.01, warmup_extra=0.0, noise=0.0)
        async with serving(timing=slow) as server:
            request = asyncio.create_task(server.complete(max_tokens=300, ignore_eos=True))
            await until(lambda: not server.api.idle.is_set())
            lingering = asyncio.create_task(server.server.drain(60.0, linger=60.0))
            await until(lambda: server.api.draining)
            assert (await server.get("/health"))[0] == 503
            assert (await server.complete(max_tokens=1))[0] == 200
            lingering.cancel()
            drain = asyncio.create_task(server.server.drain(60.0, linger=0.0))
            await until(lambda: server.api.refusing)
            assert (await server.complete())[0] == 503
            status, body = await request
            assert (status, body["usage"]["completion_tokens"]) == (200, 300)
            await drain

    run(scenario)


def test_a_drain_ends_with_its_grace() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(hang=1.0)) as server:
            request = asyncio.create_task(server.complete())
            await until(lambda: not server.api.idle.is_set())
            await asyncio.wait_for(server.server.drain(0.1), 5)
            await server.server.stop()
            with pytest.raises(aiohttp.ClientError):
                await request

    run(scenario)
