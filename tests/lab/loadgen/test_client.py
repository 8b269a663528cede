"""One request: how its answer is measured, and which cause each failure has."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from lab.loadgen.__main__ import alias, header
from lab.loadgen.arrivals import Lengths
from lab.loadgen.client import Client
from lab.loadgen.record import Record
from tests.support.lab.scripted_servers import (
    MODEL,
    USAGE,
    Handler,
    answering,
    cut,
    event,
    hang,
    reset,
    serving,
    streaming,
)


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
        (streaming(event("a "), b'data: {"error": {"code": 500}}\n\ndata: [DONE]\n\n'), "stream_error"),
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


@pytest.mark.parametrize("text", ["food", "food=", "=0.5", "food=1.5", "food=-1", "food=nan"])
def test_what_is_no_alias(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=SHARE|could not convert"):
        alias(text)


def test_headers_are_sent_with_each_request() -> None:
    seen: list[str | None] = []

    async def named(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("x-service"))
        return web.Response(status=500)

    async def scenario() -> None:
        headers = dict([header("x-service=code")])
        async with serving(named) as url, Client(url, MODEL, headers=headers) as client:
            await client.send("hello", Lengths(3, 5), stream=False)

    asyncio.run(scenario())
    assert seen == ["code"]
    with pytest.raises(ValueError, match="NAME=VALUE"):
        header("x-service")
