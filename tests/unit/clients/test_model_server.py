"""Model servers over HTTP: streams are put together again, and whatever fails is an answer too."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from inference_rollouts.clients.model_server import HttpModelServers
from tests.support.http_server import Reply, serving

SERVERS = HttpModelServers()


def stream(*events: dict[str, Any]) -> Reply:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return 200, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode()


def test_a_streamed_completion_is_put_together_again() -> None:
    asked: list[tuple[str, Any]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        asked.append((request.path, json.loads(body)))
        return stream(
            {"model": "m", "choices": [{"text": "Hel"}]},
            {"model": "m", "choices": [{"text": "lo", "finish_reason": "stop"}]},
            {"model": "m", "choices": [], "usage": {"completion_tokens": 2}},
        )

    with serving(answer) as url:
        completion = SERVERS.complete(url, "m", "Say hello.", 16, 5)
    assert completion.status == 200
    assert completion.body == {
        "model": "m",
        "choices": [{"text": "Hello", "finish_reason": "stop"}],
        "usage": {"completion_tokens": 2},
    }
    assert completion.ttft > 0
    path, body = asked[0]
    assert path == "/v1/completions"
    assert (body["model"], body["prompt"], body["stream"]) == ("m", "Say hello.", True)


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_a_refusal_is_an_answer(status: int) -> None:
    with serving(lambda *_: (status, "application/json", b"{}")) as url:
        refusal = SERVERS.complete(url, "m", "x", 1, 5)
    assert (refusal.status, refusal.body) == (status, None)


def test_nonsense_and_silence_are_answers_too() -> None:
    with serving(lambda *_: (200, "text/event-stream", b"data: {oops\n\n")) as url:
        assert SERVERS.complete(url, "m", "x", 1, 5).status == 0
    assert SERVERS.complete(url, "m", "x", 1, 5).status == 0, "nobody listens any more"
