"""Faults on demand: by status, by share, in the middle of a stream."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from lab.model_server.faults import Faults
from tests.support.lab.model_server import Server, run, serving, success_series


@pytest.mark.parametrize("status", [500, 503, 429])
def test_injected_statuses(status: int) -> None:
    async def scenario() -> None:
        async with serving(faults=Faults().changed({f"http_{status}": 1.0})) as server:
            assert (await server.complete())[0] == status
            assert (await server.get("/health"))[0] == 200

    run(scenario)


def test_injected_faults_come_at_their_rate_and_again_the_same() -> None:
    async def statuses() -> list[int]:
        async with serving(faults=Faults(http_500=0.25)) as server:
            return [(await server.complete(max_tokens=1))[0] for _ in range(400)]

    first, second = asyncio.run(statuses()), asyncio.run(statuses())
    assert first == second
    assert 70 <= first.count(500) <= 130


def test_wrong_answers() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(empty=1.0)) as server:
            assert (await server.complete())[1]["choices"][0]["text"] == ""
        async with serving(faults=Faults(wrong_model=1.0)) as server:
            assert (await server.complete())[1]["model"] != "llama"
        async with serving(faults=Faults(garbled=1.0)) as server:
            assert "\ufffd" in (await server.complete())[1]["choices"][0]["text"]

    run(scenario)


BODY = {"model": "llama", "prompt": "x", "max_tokens": 40, "ignore_eos": True}
PATH = "/v1/completions"


async def lost(server: Server) -> float:
    """Completions that were answered 2xx and ended in no good way."""
    http = f'http_requests_total{{handler="{PATH}",method="POST",status="2xx"}}'
    reasons = [
        await server.metric(success_series(reason)) or 0 for reason in ("stop", "length", "repetition")
    ]
    return (await server.metric(http) or 0) - sum(reasons)


async def received(server: Server, seconds: float = 60.0, *, begins: bool = False) -> bytes:
    """What came of a stream until it ended, broke off, or was left; `begins`: so long after its begin."""
    come = bytearray()
    with suppress(aiohttp.ClientError, TimeoutError):
        async with (
            server.session.post(server.url + PATH, json={**BODY, "stream": True}) as response,
        ):
            if begins:
                come.extend(await response.content.readuntil(b"data: "))
            async with asyncio.timeout(seconds):
                async for chunk in response.content.iter_any():
                    come.extend(chunk)
    await asyncio.wait_for(server.api.completions.idle.wait(), 60)
    return bytes(come)


def test_a_cut_breaks_the_connection_in_the_middle() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(cut=1.0)) as server:
            come = await received(server)
            assert b"data: " in come
            assert b"[DONE]" not in come
            with pytest.raises(aiohttp.ClientError):
                await server.complete()
            assert await lost(server) == 2

    run(scenario)


def test_an_engine_that_fails_is_500_or_an_event_in_a_stream() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(engine_error=1.0)) as server:
            status, body = await server.complete()
            assert (status, body["error"]["type"]) == (500, "InternalServerError")
            assert await lost(server) == 0
            *text, error, done = await server.stream(PATH, BODY)
            assert text
            assert (error["error"]["code"], error["error"]["type"]) == (500, "InternalServerError")
            assert done == "[DONE]"
            assert await lost(server) == 1
            assert await server.metric(success_series("error")) == 0

    run(scenario)


@pytest.mark.parametrize(("fault", "begins"), [("stall", True), ("hang", False)])
def test_a_stall_stops_in_the_middle_and_a_hang_before_the_first_token(fault: str, begins: bool) -> None:
    async def scenario() -> None:
        async with serving(faults=Faults().changed({fault: 1.0})) as server:
            come = await received(server, 0.3, begins=begins)
            assert (b"data: " in come) == begins
            assert b"[DONE]" not in come
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await server.complete()
            await asyncio.wait_for(server.api.completions.idle.wait(), 60)
            assert server.api.engine.running == 0
            assert await lost(server) == 2

    run(scenario)


def test_faults_change_while_it_runs_and_nonsense_is_refused() -> None:
    async def scenario() -> None:
        async with serving() as server:
            status, faults = await server.post("/lab/faults", {"http_503": 1})
            assert (status, faults["http_503"]) == (200, 1.0)
            assert (await server.complete())[0] == 503
            for nonsense in ({"http_503": 2}, {"nope": 1}, {"cut": "x"}, {"hang": 0.5}, [1], "{"):
                assert (await server.post("/lab/faults", nonsense))[0] == 400
            assert (await server.post("/lab/faults", {"http_503": 0}))[0] == 200
            assert (await server.complete())[0] == 200

    run(scenario)
