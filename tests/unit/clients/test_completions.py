"""Streams of completions in all the shapes that servers give them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from inference_rollouts.clients import bodies
from inference_rollouts.clients.completions import assemble
from inference_rollouts.clients.model_server import HttpModelServers
from inference_rollouts.core.serving.warm_up import Answer, Completion, mistake
from tests.support.odd_server import Talk, odd_server, replies

LIMIT = 0.3
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2}


def stream(*events: Any) -> Talk:
    text = "".join(f"data: {json.dumps(each)}\n\n" for each in events)
    return replies(200, f"{text}data: [DONE]\n\n".encode(), Content_Type="text/event-stream")


def complete(talk: Talk) -> Answer:
    with odd_server(talk) as url:
        return HttpModelServers().complete(url, "m", "Say hello.", 16, 20.0)


WHOLE = {
    "model": "m",
    "choices": [{"delta": {"content": "Hallo €"}, "finish_reason": "stop"}],
    "usage": COUNTS,
}
ONE = f"data: {json.dumps(WHOLE, ensure_ascii=False)}\n\n"


@pytest.mark.parametrize(
    "body",
    [
        ONE,
        ONE.replace("\n", "\r\n"),
        ONE.replace("\n", "\r"),
        "\ufeff" + ONE,
        "data\n\n: keep-alive\n\ndata:\n\n" + ONE,
        ONE.replace(', "usage"', ',\ndata: "usage"'),
        ONE.rstrip() + "\ndata: [DONE]\n",
        ONE.rstrip(),
    ],
    ids=["LF", "CRLF", "CR", "BOM", "empty", "two lines", "no blank line", "no end"],
)
def test_events_are_read_as_browsers_read_them(body: str) -> None:
    """Wherever the network cuts them: in a character, or between the two that end a line."""
    for size in (1, 3, 1000):
        raw = body.encode()
        pieces = iter([raw[at : at + size] for at in range(0, len(raw), size)] + [b""])
        answer = assemble(bodies.lines(Pieces(pieces), 10**6), time.monotonic())
        assert answer == Completion("m", "Hallo €", "stop", 3, 2, answer.ttft)


@dataclass
class Pieces:
    """A body that comes so."""

    left: Iterator[bytes]

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        return next(self.left)


@pytest.mark.parametrize(
    ("delta", "finish", "text", "besides"),
    [
        ({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]},
         "tool_calls", "", "f{}"),
        ({"function_call": {"name": "f", "arguments": "{}"}}, "function_call", "", "f{}"),
        ({"refusal": "I may not."}, "stop", "", "I may not."),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                      {"type": "text", "text": "Hi"}]}, "stop", "Hi", "Hm"),
        ({"content": "Hi"}, "eos_token", "Hi", ""),
    ],
)  # fmt: skip
def test_whatever_a_model_says_is_an_answer(
    delta: dict[str, Any], finish: str, text: str, besides: str
) -> None:
    events = (
        {"model": "m", "choices": [{"delta": {"role": "assistant", **delta}}]},
        {"model": "m", "choices": [{"delta": {}, "finish_reason": finish}]},
        {"model": "m", "usage": COUNTS},
    )
    answer = complete(stream(*events))
    assert isinstance(answer, Completion)
    assert (answer.text, answer.reasoning, answer.finish_reason) == (text, besides, "stop")
    assert mistake(answer, "m") is None


def test_a_character_that_comes_in_two_events_is_one() -> None:
    halves = ({"model": "m", "choices": [{"text": half}]} for half in ("\ud83d", "\ude00 \ud83d"))
    answer = complete(stream(*halves))
    assert isinstance(answer, Completion)
    assert answer.text == "\U0001f600 \ufffd"


def test_an_event_without_a_word_is_no_first_token() -> None:
    """Some servers say at once that they will answer."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        begin = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
        connection.sendall(f"data: {json.dumps(begin)}\n\n".encode())
        over.wait(LIMIT)
        connection.sendall(ONE.encode())

    answer = complete(talk)
    assert isinstance(answer, Completion)
    assert answer.ttft >= LIMIT


def test_a_line_that_does_not_end_costs_no_more_than_its_length() -> None:
    """A few bytes of gzip are very many of text."""
    pieces = iter([*([b"x" * 1000] * 20_000), b""])
    began = time.process_time()
    [line] = bodies.lines(Pieces(pieces), 10**8)
    assert len(line) == 20_000_000
    assert time.process_time() - began < 5


@pytest.mark.parametrize("said", [b"\x15\x03\x01\x00\x02\x02\x46", b"\x00\x00\x12\x04" + b"\x00" * 23])
def test_a_server_that_speaks_https_or_http_2_alone_is_told_so(said: bytes) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(said)

    assert "no answer of HTTP/1.1, as of a server that speaks HTTPS" in str(complete(talk))
