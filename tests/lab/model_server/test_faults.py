"""Faults on demand: by status, by share, in the middle of a stream."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from lab.model_server.faults import Faults
from tests.support.lab.model_server import run, serving, success_series


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


def test_a_cut_breaks_the_connection_in_the_middle() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(cut=1.0)) as server:
            received = bytearray()
            body = {"model": "llama", "prompt": "x", "max_tokens": 40, "stream": True, "ignore_eos": True}

            async def read() -> None:
                async with server.session.post(server.url + "/v1/completions", json=body) as response:
                    async for chunk in response.content.iter_any():
                        received.extend(chunk)

            with pytest.raises(aiohttp.ClientError):
                await read()
            assert b"data: " in received
            assert b"[DONE]" not in received
            assert await server.metric(success_series("abort")) == 1

    run(scenario)


def test_a_hang_answers_nothing_until_the_client_gives_up() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(hang=1.0)) as server:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await server.complete()
            await asyncio.wait_for(server.api.idle.wait(), 5)

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
