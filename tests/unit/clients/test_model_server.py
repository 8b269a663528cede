"""Model servers: streams are put together again, and whatever else comes is one phrase."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients.model_server import HttpModelServers, Prompt
from inference_rollouts.core.errors import ClusterRefused, ServerRefused, ServerUnavailable
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.warm_up import Answer, Completion, Failure, mistake
from inference_rollouts.rollout.serving import listed
from tests.support.odd_server import (
    BROKEN,
    PACE,
    SLOW,
    Talk,
    choosing_server,
    floods,
    odd_server,
    replies,
    replies_json,
)
from tests.support.stopwatch import ends_within

LIMIT = 0.3
SOON = 10 * LIMIT
EVENTS: list[dict[str, Any]] = [
    {"model": "m", "choices": [{"text": "Hel"}]},
    {"model": "m", "choices": [{"text": "lo", "finish_reason": "stop"}]},
    {"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
]
BUSY = "The engine is currently busy and cannot accept new requests."


def stream(*events: Any) -> Talk:
    text = "".join(f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n" for each in events)
    return replies(200, f"{text}data: [DONE]\n\n".encode(), Content_Type="text/event-stream")


def complete(talk: Talk, timeout: float = 20.0, prompt: Prompt = "Say hello.") -> Answer:
    with odd_server(talk) as url:
        return HttpModelServers().complete(url, "m", prompt, 16, timeout)


def models(talk: Talk, timeout: float = 20.0) -> list[Served]:
    with odd_server(talk) as url:
        return HttpModelServers(timeout).models(url)


# Completions


def test_a_stream_is_put_together_again() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def choose(method: str, target: str, body: bytes) -> Talk:
        asked.append((target, json.loads(body)))
        return stream(*EVENTS)

    with choosing_server(choose) as url:
        answer = HttpModelServers().complete(url, "m", "Say hello.", 16, 20)
    assert isinstance(answer, Completion)
    assert answer == Completion("m", "Hello", "stop", 3, 2, answer.ttft)
    assert mistake(answer, "m") is None
    assert answer.ttft > 0
    [(target, body)] = asked
    assert (target, body["model"], body["prompt"], body["stream"]) == (
        "/v1/completions",
        "m",
        "Say hello.",
        True,
    )


def test_a_chat_is_asked_and_put_together_as_one() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def choose(method: str, target: str, body: bytes) -> Talk:
        asked.append((target, json.loads(body)))
        return stream({"model": "m", "choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]})

    with choosing_server(choose) as url:
        answer = HttpModelServers().complete(url, "m", [{"role": "user", "content": "x"}], 16, 20)
    assert isinstance(answer, Completion)
    assert (answer.text, answer.finish_reason) == ("Hi", "stop")
    [(target, body)] = asked
    assert (target, body["messages"], body["stream"]) == (
        "/v1/chat/completions",
        [{"role": "user", "content": "x"}],
        True,
    )


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("content", [None, "", "Four."])
def test_a_model_that_reasons_has_answered_also_where_its_thoughts_took_all_tokens(
    field: str, content: str | None
) -> None:
    think = {"model": "m", "choices": [{"delta": {field: "Two and two", "content": None}}]}
    end = {"model": "m", "choices": [{"delta": {"content": content}, "finish_reason": "length"}]}
    counts = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    with choosing_server(lambda *_: stream(think, end, counts)) as url:
        answer = HttpModelServers().complete(url, "m", [{"role": "user", "content": "x"}], 16, 20)
    assert isinstance(answer, Completion)
    assert (answer.text, answer.reasoning) == (content or "", "Two and two")
    assert mistake(answer, "m") is None


def test_the_time_to_the_first_token_is_not_that_to_the_last() -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for event in EVENTS:
            connection.sendall(f"data: {json.dumps(event)}\n\n".encode())
            over.wait(LIMIT)

    started = time.monotonic()
    answer = complete(talk)
    assert isinstance(answer, Completion)
    assert answer.ttft < time.monotonic() - started - LIMIT
    assert answer.text == "Hello"


def never_ends(connection: socket.socket, over: threading.Event) -> None:
    """A valid stream without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not over.wait(PACE):
        connection.sendall(f"data: {json.dumps(EVENTS[0])}\n\n".encode())


@pytest.mark.parametrize("talk", [never_ends, *SLOW], ids=lambda talk: talk.__name__)
def test_an_answer_that_does_not_end_in_time_is_a_failure_that_says_so(talk: Talk) -> None:
    with ends_within(SOON):
        answer = complete(talk, timeout=LIMIT)
    assert answer == Failure(0, "no whole answer within 0.3 s")
    assert mistake(answer, "m") == "gave no valid answer: no whole answer within 0.3 s"


def test_a_stream_that_is_too_large_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.clients.model_server.STREAM_BYTES", 10**6)
    assert complete(floods) == Failure(0, "the answer is larger than 1000000 bytes")


@pytest.mark.parametrize("talk", BROKEN, ids=lambda talk: talk.__name__)
def test_a_broken_answer_is_a_failure_in_words(talk: Talk) -> None:
    wrong = mistake(complete(talk), "m")
    assert wrong is not None
    assert "object at 0x" not in wrong


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("{oops", "Expecting"),
        ("[[]]", "no event of a completion: Input should be a valid dictionary"),
        ("1", "no event of a completion: Input should be a valid dictionary"),
        ({"choices": 1.5}, "no event of a completion: choices: Input should be a valid list"),
        ({"choices": [[]]}, "choices.0: Input should be a valid dictionary"),
        ({"choices": [{"delta": 1}]}, "choices.0.delta: Input should be a valid dictionary"),
        ({"choices": [{"text": ["x"]}]}, "choices.0.text: Input should be a valid string"),
        ({"choices": [{"text": "", "finish_reason": 1}]}, "choices.0.finish_reason: Input should be a valid"),
        ({"choices": [], "model": 1}, "model: Input should be a valid string"),
        ({"choices": [], "usage": []}, "usage: Input should be a valid dictionary"),
        (
            {"choices": [], "usage": {"prompt_tokens": 1.0}},
            "usage.prompt_tokens: Input should be a valid int",
        ),
        (
            {"choices": [], "usage": {"prompt_tokens": True}},
            "usage.prompt_tokens: Input should be a valid int",
        ),
        ({"choices": [], "usage": {"prompt_tokens": -1}}, "prompt_tokens: Input should be greater than or"),
        ({"choices": [], "usage": {"prompt_tokens": 10**10}}, "prompt_tokens: Input should be less than or"),
        ('{"choices": [], "usage": {"prompt_tokens": 1e400}}', "1e400 is no finite number"),
        ('{"choices": [], "usage": NaN}', "NaN is no finite number"),
        ({"error": {"message": BUSY, "code": 503}}, f"the stream broke off: {BUSY}"),
        ({"error": "oops"}, "the stream broke off: oops"),
        ({"error": {}, "choices": []}, "the stream broke off: "),
        ({"object": "error", "message": BUSY, "code": 503}, f"the stream broke off: {BUSY}"),
        ("[" * 100_000, "JSON that is nested too deeply"),
        (f'{{"error": {"[" * 980}{"]" * 980}}}', "nested too deeply"),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_event_that_is_none_of_a_completion_is_a_failure_in_words(
    event: Any, words: str, before: int
) -> None:
    """However far the answer had come, and although the stream goes on, and ends, as any other."""
    answer = complete(stream(*EVENTS[:before], event, *EVENTS[before:]))
    assert isinstance(answer, Failure)
    assert answer.status == 0
    assert words in answer.words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "a stream without events"),
        (b"data: [DONE]\n\n", "a stream without events"),
        (b": ping\n\nevent: message\nid: 1\n\n", "a stream without events"),
        (b"<html>log in</html>", "no stream of events: <html>log in</html>"),
        (json.dumps({"model": "m", "choices": [{"text": "Hello"}]}).encode(), "no stream of events: {"),
        (b"\xff\xfe\x00", "no stream of events"),
    ],
)
def test_what_is_no_stream_is_a_failure_in_words(body: bytes, words: str) -> None:
    answer = complete(replies(200, body))
    assert isinstance(answer, Failure)
    assert words in answer.words


def test_a_stream_that_has_ended_is_not_waited_for() -> None:
    def goes_on(connection: socket.socket, over: threading.Event) -> None:
        stream(*EVENTS)(connection, over)
        over.wait()

    assert isinstance(complete(goes_on, timeout=20), Completion)


def test_bytes_that_are_no_text_are_seen_as_such() -> None:
    body = b'data: {"model": "m", "choices": [{"text": "\xff\xfe\xff", "finish_reason": "stop"}]}\n\n'
    assert "unreadable" in (mistake(complete(replies(200, body)), "m") or "")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b"queue is\nfull", "queue is full"),
        (429, b"later", "later"),
        (404, b'{"error": {"message": "no such model"}}', "no such model"),
        (404, b'{"message": "no such model"}', "no such model"),
        (404, b'{"detail": "Not Found"}', "Not Found"),
        (500, b'{"error": null}', "{'error': None}"),
        (500, b"[1]", "[1]"),
        (500, b"\xff", "\ufffd"),
        (500, b"", "Odd"),
    ],
)
def test_a_refusal_is_an_answer_with_its_words(status: int, body: bytes, words: str) -> None:
    answer = complete(replies(status, body))
    assert answer == Failure(status, words)


def test_a_server_that_is_not_there_is_a_failure_in_words() -> None:
    with odd_server(stream(*EVENTS)) as url:
        pass
    answer = HttpModelServers().complete(url, "m", "Say hello.", 16, 20)
    assert isinstance(answer, Failure)
    assert (answer.status, "Connection refused" in answer.words) == (0, True)


# Models


CARD = {"id": "sql", "root": "/adapters/sql", "parent": "llama"}


def test_what_a_server_answers_for_is_listed() -> None:
    assert models(replies_json(200, {"data": [CARD, {"id": "llama"}]})) == [
        Served("sql", "/adapters/sql", "llama"),
        Served("llama", ""),
    ]


ODD_VALUES: list[Any] = [1, 0, [], "a\nb", "\ud800"]


@pytest.mark.parametrize(
    "answer",
    [{}, 1, [], None, {"data": None}, {"data": {}}, {"data": [{}]}, {"data": [[]]}, {"data": [{"id": 1}]}]
    + [{"data": [CARD | {key: value}]} for key in CARD for value in ODD_VALUES],
    ids=json.dumps,
)
def test_what_is_no_list_of_models_is_refused_in_a_sentence(answer: Any) -> None:
    with pytest.raises(ServerRefused, match="200: the answer is no list of models"):
        models(replies_json(200, answer))


@pytest.mark.parametrize(
    "talk", [replies(200, b"\xff"), replies(200, b"<html>"), replies(401, b"Unauthorized")]
)
def test_a_refusal_to_list_is_one_in_a_sentence(talk: Talk) -> None:
    with pytest.raises(ServerRefused):
        models(talk)


@pytest.mark.parametrize("talk", [*BROKEN, replies(503, b"loading"), replies(429, b"later")])
def test_a_server_that_cannot_list_now_may_later(talk: Talk) -> None:
    with pytest.raises(
        ServerUnavailable, match=r"http://127\.0\.0\.1:\d+/v1/models (does not answer|answers)"
    ):
        models(talk)


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
def test_a_silent_server_is_left_at_the_limit(talk: Talk) -> None:
    with (
        ends_within(SOON),
        pytest.raises(ServerUnavailable, match=r"does not answer: no whole answer within 0\.3 s"),
    ):
        models(talk, timeout=LIMIT)


def test_a_promise_to_answer_later_is_not_waited_for() -> None:
    with ends_within(3):
        later = replies(503, b"later", Retry_After="4")
        assert complete(later, timeout=60) == Failure(503, "later")
        with pytest.raises(ServerUnavailable, match="answers 503: later"):
            models(later, timeout=60)


@pytest.mark.parametrize("talk", [floods, *SLOW], ids=lambda talk: talk.__name__)
def test_loading_and_unloading_end_at_the_limit_too(talk: Talk) -> None:
    with ends_within(2 * SOON), odd_server(talk) as url:
        servers = HttpModelServers(LIMIT)
        with pytest.raises(ServerUnavailable):
            servers.load_adapter(url, "sql", "/adapters/sql")
        with pytest.raises(ServerUnavailable):
            servers.unload_adapter(url, "sql")


def test_a_list_that_is_too_large_is_no_answer() -> None:
    with pytest.raises(ServerUnavailable, match="larger than"):
        models(floods)


def test_what_is_loaded_and_unloaded_already_is_fine() -> None:
    def choose(method: str, target: str, body: bytes) -> Talk:
        if method == "GET":
            return replies_json(200, {"data": [CARD]})
        return replies_json(400 if "/load" in target else 404, {"message": "no"})

    with choosing_server(choose) as url:
        servers = HttpModelServers()
        servers.load_adapter(url, "sql", "/adapters/sql")
        servers.unload_adapter(url, "gone")
        with pytest.raises(ServerRefused, match="400: no"):
            servers.load_adapter(url, "sql", "/elsewhere")
        with pytest.raises(ServerRefused, match="404: no"):
            servers.unload_adapter(url, "sql")


KEY = "sk-of-the-servers"
CARDS = json.dumps({"data": [{"id": "m", "root": "r"}]}).encode()


class AsksForKey(BaseHTTPRequestHandler):
    """Answers whoever has the key."""

    def do_GET(self) -> None:
        has = self.headers.get("Authorization") == f"Bearer {KEY}"
        self.send_response(200 if has else 401)
        self.end_headers()
        self.wfile.write(CARDS if has else b'{"error": "Unauthorized"}')

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_servers_behind_an_api_key_get_the_key_of_the_connection() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), AsksForKey) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert HttpModelServers(key=lambda: KEY).models(url) == [Served("m", "r")]
        with pytest.raises(ServerRefused, match="401"):
            HttpModelServers().models(url)
        with pytest.raises(ClusterRefused, match="name a connection that has it as password"):
            listed(HttpModelServers(), "llm-0", url)
        server.shutdown()


@pytest.mark.filterwarnings("error")
def test_servers_that_speak_https_need_no_certificate_for_their_pod_s_address(tmp_path: Path) -> None:
    from lab.apiserver.endpoints.certificates import ensure

    _, public, key = ensure(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, key)
    with odd_server(replies(200, CARDS), context) as url:
        assert url.startswith("https://127.0.0.1")
        assert HttpModelServers().models(url) == [Served("m", "r")]
    with odd_server(replies(200, CARDS)) as url, pytest.raises(ServerUnavailable) as caught:
        HttpModelServers(2.0).models(url.replace("http:", "https:"))
    assert "does not answer: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "HTTPSConnectionPool" not in str(caught.value)
