"""The load generator against scripted servers: causes of failure, open loop, log, control."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from lab.host.state import CHECKOUT
from lab.loadgen.__main__ import alias, control
from lab.loadgen.arrivals import Lengths, Poisson, Traced, read_trace
from lab.loadgen.client import Client
from lab.loadgen.generator import Generator
from lab.loadgen.log import RequestLog, read_log
from lab.loadgen.prompts import Prompts
from lab.loadgen.record import Record
from lab.loadgen.stats import Stats, quantiles

MODEL = "llama"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
RECORDED_TRACE = CHECKOUT.parent / "shared" / "traces" / "azure-llm-2023-code.csv"


def event(text: str, reason: str | None = None, model: str = MODEL) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return f"data: {json.dumps({'model': model, 'choices': [choice]})}\n\n".encode()


COUNTS = b'{"prompt_tokens":3,"completion_tokens":5}'
USAGE = b'data: {"model":"llama","choices":[],"usage":' + COUNTS + b"}\n\ndata: [DONE]\n\n"


def streaming(*chunks: bytes, pause: float = 0.0) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"x-served-by": "pod-a", "x-inference-pool": "llm-pool"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(pause)
        return response

    return handler


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(event("a "))
    assert request.transport
    request.transport.abort()
    return response


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.abort()
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


def answering(status: int) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="no")

    return handler


good = streaming(event("a "), event("b ", "stop") + USAGE)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def send(url: str, patience: float = 5.0, stream: bool = True) -> Record:
    async with Client(url, MODEL, patience) as client:
        return await client.send("hello", Lengths(3, 5), stream=stream)


def outcome_of(handler: Handler, patience: float = 5.0, stream: bool = True) -> Record:
    async def scenario() -> Record:
        async with serving(handler) as url:
            return await send(url, patience, stream)

    return asyncio.run(scenario())


def test_a_good_answer_is_measured() -> None:
    record = outcome_of(streaming(event("a "), event("b ", "stop"), USAGE, pause=0.05))
    assert (record.outcome, record.status, record.pod, record.pool) == ("ok", 200, "pod-a", "llm-pool")
    assert (record.prompt_tokens, record.answer_tokens) == (3, 5)
    assert record.ttft is not None
    assert record.inter_token is not None
    assert record.ttft < 0.05
    assert record.inter_token == pytest.approx(0.15 / 4, rel=0.5)
    assert record.e2e >= 0.15


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (answering(500), "http_500"),
        (answering(503), "http_503"),
        (answering(404), "http_404"),
        (answering(429), "http_429"),
        (cut, "cut"),
        (reset, "reset"),
        (streaming(event("a ")), "cut"),
        (streaming(), "cut"),
        (streaming(event("a ", "stop", model="other") + USAGE), "bad_answer"),
        (streaming(event("", "stop") + USAGE), "bad_answer"),
        (streaming(event("\ufffd\ufffd", "stop") + USAGE), "bad_answer"),
        (streaming(event("a ", "error") + USAGE), "bad_answer"),
        (streaming(b"data: nonsense\n\n", USAGE), "bad_answer"),
        (streaming(event("a ", "stop") + b"data: [DONE]\n\n"), "bad_answer"),
    ],
)
def test_every_failure_has_its_cause(handler: Handler, outcome: str) -> None:
    record = outcome_of(handler)
    assert record.outcome == outcome
    assert record.detail or outcome.startswith("http")


def test_a_hang_is_a_timeout() -> None:
    record = outcome_of(hang, patience=0.2)
    assert (record.outcome, record.ttft) == ("timeout", None)


def test_nobody_listening_is_a_connect_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert asyncio.run(send(f"http://127.0.0.1:{port}")).outcome == "connect_error"


def test_whole_answers_are_checked_too() -> None:
    def whole(body: object) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return web.json_response(body)

        return handler

    choice = {"message": {"content": "a"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    fine = {"model": MODEL, "choices": [choice], "usage": usage}
    assert outcome_of(whole(fine), stream=False).outcome == "ok"
    assert outcome_of(whole(fine | {"model": "other"}), stream=False).outcome == "bad_answer"
    assert outcome_of(whole({}), stream=False).outcome == "bad_answer"
    assert outcome_of(answering(200), stream=False).outcome == "bad_answer"


class Running:
    """A generator under way."""

    def __init__(self, generator: Generator, log: Path) -> None:
        self.generator, self.log = generator, log

    async def until(self, condition: Callable[[Generator], bool]) -> None:
        async with asyncio.timeout(20):
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


@pytest.mark.parametrize(
    ("asked", "answered", "outcome"),
    [("", MODEL, "ok"), ("", "v1", "bad_answer"), ("food", "v1", "ok"), ("food", MODEL, "bad_answer")],
)
def test_an_alias_is_answered_by_what_stands_behind_it(asked: str, answered: str, outcome: str) -> None:
    async def named(request: web.Request) -> web.Response:
        assert (await request.json())["model"] == (asked or MODEL)
        choice = {"message": {"content": "a"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return web.json_response({"model": answered, "choices": [choice], "usage": usage})

    async def scenario() -> Record:
        async with serving(named) as url, Client(url, MODEL) as client:
            return await client.send("hello", Lengths(3, 5), stream=False, alias=asked)

    record = asyncio.run(scenario())
    assert (record.outcome, record.model) == (outcome, asked or MODEL)


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


@pytest.mark.parametrize("text", ["food", "food=", "=0.5", "food=1.5", "food=-1", "food=nan"])
def test_what_is_no_alias(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=SHARE|could not convert"):
        alias(text)


def test_slow_answers_do_not_slow_the_arrivals(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(hang) as url, generating(url, tmp_path, rate=300.0) as running:
            began = time.monotonic()
            await running.until(lambda generator: generator.in_flight >= 150)
            assert time.monotonic() - began < 5

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


def test_arrivals_are_poisson() -> None:
    poisson = Poisson(50.0, Random(1))
    gaps = [poisson.gap() for _ in range(5000)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(1 / 50, rel=0.05)
    assert variance**0.5 == pytest.approx(mean, rel=0.1)
    lengths = [poisson.lengths() for _ in range(500)]
    assert {8 <= each.answer <= 64 and 16 <= each.prompt <= 2048 for each in lengths} == {True}


def test_prompts_share_beginnings_and_have_their_length() -> None:
    prompts = Prompts(Random(1))
    drawn = [prompts.draw(200) for _ in range(100)]
    assert {len(prompt) for prompt in drawn} == {800}
    assert len(set(drawn)) == 100
    assert len({prompt[:480] for prompt in drawn}) <= 12
    assert len(prompts.draw(50_000)) == 200_000


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
            await generator.run(trace, speed=5.0)
            log.close()
            assert generator.stats.outcomes == {"ok": 2}
            return time.monotonic() - began

    assert 0.3 <= asyncio.run(scenario()) < 1.5


@pytest.mark.parametrize("row", ["nonsense,1,2", "2023-11-16 18:17:03,x,2", "1.0,2"])
def test_a_broken_trace_names_its_line(row: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(f"t,p,a\n0.5,1,1\n{row}\n")
    with pytest.raises(ValueError, match="line 3"):
        list(read_trace(path))


@pytest.mark.skipif(not RECORDED_TRACE.exists(), reason="needs the recorded trace")
def test_the_recorded_trace_is_read() -> None:
    trace = list(read_trace(RECORDED_TRACE))
    offsets = [request.offset for request in trace]
    assert len(trace) > 8000
    assert offsets == sorted(offsets)
    assert 3000 < offsets[-1] < 3700


def test_the_log_rotates_and_is_read_in_order(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, largest=2000)
    for number in range(40):
        log.write(Record(time=float(number), outcome="ok" if number % 10 else "http_500"))
        log.flush()
    log.close()
    assert (tmp_path / "requests.jsonl.1").exists()
    times = [record.time for record in read_log(tmp_path)]
    assert times == sorted(times)
    assert times[-1] == 39.0
    assert [record.time for record in read_log(tmp_path, since=35, until=38)] == [35.0, 36.0, 37.0]


def test_another_process_counts_failures_by_cause(tmp_path: Path) -> None:
    log = RequestLog(tmp_path)
    log.write(Record(time=10.0))
    log.write(Record(time=11.0, outcome="http_500", detail="injected", pool="canary"))
    log.flush()
    (tmp_path / "requests.jsonl").open("a").write('{"time": 12.0, "outc')

    def query(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lab.loadgen.log", str(tmp_path), *more]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    everything, good, none = query(), query("--until", "11"), query("--since", "11.5")
    assert everything.returncode == 1
    assert "http_500" in everything.stdout
    assert "canary" in everything.stdout
    assert good.returncode == 0
    assert none.returncode == 2, "an empty log proves nothing"
    log.close()


def test_the_window_forgets_and_the_totals_do_not() -> None:
    stats = Stats()
    stats.add(Record(time=0.0, ttft=1.0, e2e=2.0, pool="a"), now=100.0)
    stats.add(Record(time=0.0, outcome="cut", pool="b"), now=111.0)
    window = stats.window(now=112.0)
    assert window["outcomes"] == {"cut": 1}
    assert list(window["pools"]) == ["b"]
    assert stats.window(now=112.0, seconds=20)["pools"]["a"]["ttft"]["p50"] == 1.0
    assert stats.totals() == {"ended": 2, "outcomes": {"ok": 1, "cut": 1}}


def test_quantiles_are_values_that_occurred() -> None:
    assert quantiles([float(n) for n in range(1, 101)]) == {
        "p50": 50.0,
        "p95": 95.0,
        "p99": 99.0,
        "max": 100.0,
    }
    assert quantiles([]) == {"p50": None, "p95": None, "p99": None, "max": None}
