"""The generator: an open loop whose every request is in the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from lab.loadgen.__main__ import control
from lab.loadgen.arrivals import Lengths, Traced, read_trace
from lab.loadgen.client import Client
from lab.loadgen.generator import Generator
from lab.loadgen.log import RequestLog, read_log
from tests.support.lab.scripted_servers import MODEL, good, hang, serving
from tests.support.stopwatch import ends_within


class Running:
    """A generator under way."""

    def __init__(self, generator: Generator, log: Path) -> None:
        self.generator, self.log = generator, log

    async def until(self, condition: Callable[[Generator], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition(self.generator):  # noqa: ASYNC110 - polls the code under test
                await asyncio.sleep(0.005)


@asynccontextmanager
async def generating(url: str, directory: Path, rate: float) -> AsyncIterator[Running]:
    async with Client(url, MODEL, 20.0) as client:
        log = RequestLog(directory)
        generator = Generator(client, log, rate, stream_share=1.0, seed=1)
        work = asyncio.create_task(generator.run())
        try:
            yield Running(generator, directory)
        finally:
            generator.stop()
            await work
            log.close()


def test_aliases_get_their_share_of_the_requests(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        async with serving(hang) as url, Client(url, MODEL, 0.01) as client:
            log = RequestLog(tmp_path)
            generator = Generator(client, log, 1.0, 1.0, seed=1, aliases={"food": 0.4})
            trace = [Traced(0.0, Lengths(1, 1))] * 400
            await generator.run(trace)
            log.close()
            return [record.model for record in read_log(tmp_path)]

    asked = asyncio.run(scenario())
    assert set(asked) == {MODEL, "food"}
    assert asked.count("food") / len(asked) == pytest.approx(0.4, abs=0.08)


def test_slow_answers_do_not_slow_the_arrivals(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(hang) as url, generating(url, tmp_path, rate=300.0) as running:
            with ends_within(5):
                await running.until(lambda generator: generator.in_flight >= 150)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.loadgen.generator.LAST_ANSWERS", 0.05)
        asyncio.run(scenario())


def test_every_request_sent_is_in_the_log(tmp_path: Path) -> None:
    async def scenario() -> Generator:
        async with serving(good) as url, generating(url, tmp_path, rate=200.0) as running:
            await running.until(lambda generator: generator.sent >= 100)
            return running.generator

    generator = asyncio.run(scenario())
    assert len(list(read_log(tmp_path))) == generator.sent == generator.stats.outcomes["ok"]


def test_the_rate_can_be_changed_and_paused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(good) as url,
            generating(url, tmp_path, rate=0.0) as running,
            TestClient(TestServer(control(running.generator))) as client,
        ):
            assert running.generator.sent == 0
            assert (await client.get("/healthz")).status == 200
            assert (await client.post("/rate", json={"rate": 200})).status == 200
            await running.until(lambda generator: generator.stats.outcomes["ok"] >= 20)
            refused: list[object] = [{"rate": -1}, {"rate": "x"}, {"rate": 1e9}, {"rate": None}, {}, [], "{"]
            for nonsense in refused:
                assert (await client.post("/rate", json=nonsense)).status == 400
            stats = await (await client.get("/stats")).json()
            assert stats["rate_asked"] == 200
            assert stats["totals"]["outcomes"]["ok"] >= 20
            assert stats["window"]["pools"]["llm-pool"]["outcomes"]["ok"] >= 20
            assert stats["generator"]["lateness"]["p99"] is not None
            assert (await client.get("/stats?window=nonsense")).status == 400

    asyncio.run(scenario())


def test_clients_can_be_made_impatient(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(hang) as url,
            generating(url, tmp_path, rate=100.0) as running,
            TestClient(TestServer(control(running.generator))) as client,
        ):
            assert (await client.post("/patience", json={"seconds": 0.05})).status == 200
            await running.until(lambda generator: generator.stats.outcomes["timeout"] >= 5)
            refused: list[object] = [{"seconds": 0}, {"seconds": "x"}, {"seconds": 1e9}, {}, [], "{"]
            for nonsense in refused:
                assert (await client.post("/patience", json=nonsense)).status == 400

    asyncio.run(scenario())


def test_its_own_delays_are_shown_as_such(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(good) as url, generating(url, tmp_path, rate=100.0) as running:
            await running.until(lambda generator: generator.stats.outcomes["ok"] >= 5)
            time.sleep(0.4)  # noqa: ASYNC251 - takes the processor away from the generator
            sent = running.generator.sent
            await running.until(lambda generator: generator.stats.outcomes["ok"] >= sent + 20)
            now = time.monotonic()
            delays = running.generator.stats.own_delays(now, running.generator.lag.since(now - 5))
            assert delays["lateness"]["max"] > 0.2
            assert delays["loop_lag"]["max"] > 0.2
            assert delays["disturbed"] >= 1

    asyncio.run(scenario())


def test_a_trace_is_replayed_at_its_speed(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = [
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "2023-11-16 18:17:03.5,10,5",
        "2023-11-16 18:17:05.0,20,5",
    ]
    path.write_text("\n".join(rows) + "\n")
    trace = list(read_trace(path))
    assert trace == [Traced(0.0, Lengths(10, 5, True)), Traced(1.5, Lengths(20, 5, True))]

    async def scenario() -> float:
        async with serving(good) as url, Client(url, MODEL) as client:
            log = RequestLog(tmp_path)
            generator = Generator(client, log, 0.0, 1.0, seed=1)
            began = time.monotonic()
            with ends_within(1.5):
                await generator.run(trace, speed=5.0)
            log.close()
            assert generator.stats.outcomes == {"ok": 2}
            return time.monotonic() - began

    assert asyncio.run(scenario()) >= 0.3
