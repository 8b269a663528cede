"""In an event loop a store is asked as it is in a thread: the same requests, answers, limits and words."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from inference_rollouts.clients import line as module
from inference_rollouts.clients.bearer import Access
from inference_rollouts.clients.line import Line
from inference_rollouts.clients.prometheus import PrometheusClient
from inference_rollouts.core.errors import PrometheusUnavailable
from tests.support.http_server import Reply, serving
from tests.support.odd_server import (
    BROKEN,
    SLOW,
    Talk,
    floods,
    odd_server,
    read_request,
    replies,
    replies_json,
)
from tests.support.stopwatch import ends_within

LIMIT = 0.3
SAMPLE = {"metric": {}, "value": (7, "1")}
ANSWER = {"status": "success", "data": {"resultType": "vector", "result": [SAMPLE]}}
HEADERS = ("Authorization", "Content-Type", "User-Agent", "Cookie")
VECTOR = json.dumps(ANSWER).encode()


def in_turn(prometheus: PrometheusClient, times: int = 1) -> list[list[Any]]:
    """What queries by one line answer, one after the other."""

    async def asked() -> list[list[Any]]:
        with ThreadPoolExecutor(1) as threads:
            line = Line(threads)
            try:
                return [list(await prometheus.aquery("up", 7.0, line)) for _ in range(times)]
            finally:
                await line.close()

    return asyncio.run(asked())


def client(url: str, token: str = "", timeout: float = 20.0) -> PrometheusClient:
    return PrometheusClient(lambda: Access(url, token), timeout)


def refusal(talk: Talk, timeout: float = 20.0) -> str:
    with odd_server(talk) as url, pytest.raises(PrometheusUnavailable) as told:
        in_turn(client(url, timeout=timeout))
    return str(told.value)


def test_requests_and_answers_are_those_of_a_thread() -> None:
    asked: list[tuple[Any, ...]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        kept = {name: request.headers[name] for name in HEADERS}
        asked.append((request.command, request.path, kept, body))
        return 200, "application/json", VECTOR

    with serving(answer) as url:
        prometheus = client(f"{url}/v1/projects/p", "secret")
        assert [list(prometheus.query("up", 7.0))] == in_turn(prometheus)
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    ("user", "token", "sent"),
    [
        ("anna:p%40ss:1@", "", "Basic " + b64encode(b"anna:p@ss:1").decode()),
        ("anna@", "", "Basic " + b64encode(b"anna:").decode()),
        ("anna:p%40ss@", "secret", "Bearer secret"),
        ("", "", None),
    ],
)
def test_a_user_and_password_in_the_address_are_sent_alike_where_there_is_no_token(
    user: str, token: str, sent: str | None
) -> None:
    asked: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        asked.append(request.headers["Authorization"])
        return (200, "application/json", VECTOR) if len(asked) < 3 else (401, "text/html", b"")

    with serving(answer) as url:
        prometheus = client(url.replace("://", f"://{user}"), token)
        assert [list(prometheus.query("up", 7.0))] == in_turn(prometheus)
        with pytest.raises(PrometheusUnavailable, match=rf"Prometheus at {url} answered 401"):
            in_turn(prometheus)
    assert asked == [sent] * 3


def test_a_compressed_answer_is_read() -> None:
    with odd_server(replies(200, gzip.compress(VECTOR), Content_Encoding="gzip")) as url:
        assert in_turn(client(url)) == [[SAMPLE]]


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
def test_a_query_ends_at_its_limit(talk: Talk) -> None:
    with ends_within(10 * LIMIT):
        assert refusal(talk, LIMIT).endswith("does not answer: no whole answer within 0.3 s")


@pytest.mark.parametrize("talk", BROKEN, ids=lambda talk: talk.__name__)
def test_what_is_no_whole_answer_is_none(talk: Talk) -> None:
    assert "does not answer: " in refusal(talk)


def test_an_answer_without_an_end_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.clients.bearer.ANSWER_BYTES", 10**6)
    assert "larger than 1000000 bytes" in refusal(floods)


def test_refusals_are_told_in_the_same_words() -> None:
    redirect = replies(302, b"", Location="https://login.test/")
    assert "does not answer: it redirects to https://login.test/" in refusal(redirect)
    refused = replies_json(400, {"status": "error", "error": "parse error"})
    assert "answered 400: parse error" in refusal(refused)
    with serving(lambda *_: (200, "text/plain", b"")) as url:
        pass
    with pytest.raises(PrometheusUnavailable, match=r"does not answer: .*111"):
        in_turn(client(url))


def test_a_token_that_is_refused_is_read_anew() -> None:
    """At the first query, and at one of a line that is open."""
    tokens, asked = ["old"], []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        asked.append(request.headers["Authorization"])
        if len(asked) == 2:
            tokens.append("new")
        good = f"Bearer {tokens[-1]}"
        return (200, "application/json", VECTOR) if asked[-1] == good else (401, "text/html", b"")

    with serving(answer) as url:
        in_turn(PrometheusClient(lambda: Access(url, tokens[-1])), times=2)
    assert asked == ["Bearer old", "Bearer old", "Bearer new"]


def test_through_a_proxy_it_is_asked_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        asked.append(request.path)
        return 200, "application/json", VECTOR

    with serving(answer) as proxy:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy)
        in_turn(client("http://metrics.test:9090"))
    assert asked == ["http://metrics.test:9090/api/v1/query"]


def test_certificates_are_verified_as_requests_would(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert module._security("http://metrics.test/") is False
    security = module._security("https://metrics.test/")
    assert isinstance(security, ssl.SSLContext)
    assert security.verify_mode is ssl.CERT_REQUIRED
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with pytest.raises(PrometheusUnavailable, match=r"does not answer: .*nothing\.pem"):
        in_turn(client("https://127.0.0.1:1"))


def test_after_a_certificate_that_is_refused_those_we_trust_are_read_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are renewed in their file while a process watches for months."""
    read: list[str] = []

    def security(url: str) -> bool:
        read.append(url)
        return False

    async def refused(*_: object) -> None:
        key: Any = SimpleNamespace(host="metrics.test", port=443, is_ssl=True)
        raise aiohttp.ClientConnectorCertificateError(key, ssl.CertificateError("unknown issuer"))

    async def twice() -> None:
        with ThreadPoolExecutor(1) as threads:
            line, prometheus = Line(threads), client("https://metrics.test")
            for _ in range(2):
                with pytest.raises(PrometheusUnavailable, match="unknown issuer"):
                    await prometheus.aquery("up", 7.0, line)

    monkeypatch.setattr(Line, "_answered", refused)
    monkeypatch.setattr(module, "_security", security)
    asyncio.run(twice())
    assert len(read) == 2


@pytest.mark.parametrize("url", ["nonsense", "http://[::1", "https://", "http://user@:x/"])
def test_an_address_that_is_none_is_said_to_be(url: str) -> None:
    with pytest.raises(PrometheusUnavailable, match="does not answer"):
        in_turn(client(url, timeout=60.0))


def test_what_is_no_gzip_is_no_answer() -> None:
    assert "does not answer: " in refusal(replies(200, b"no gzip", Content_Encoding="gzip"))


@pytest.mark.parametrize("lost", [1, 2])
def test_a_kept_connection_that_was_closed_meanwhile_costs_no_answer(lost: int) -> None:
    """It is asked once more, by another one."""
    asked: list[int] = []
    kept = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(VECTOR) + VECTOR

    def talk(connection: socket.socket, over: threading.Event) -> None:
        """The first request is answered; those after it are `lost` with their connections, without a word."""
        while not 2 <= (number := len(asked) + 1) < 2 + lost:
            asked.append(number)
            connection.sendall(kept)
            if not read_request(connection):
                return
        asked.append(number)

    with odd_server(talk) as url:
        if lost == 1:
            assert in_turn(client(url), times=2) == [[SAMPLE]] * 2
        else:
            with pytest.raises(PrometheusUnavailable, match="does not answer"):
                in_turn(client(url), times=2)
    assert asked == [1, 2, 3]


def test_a_line_that_was_closed_is_not_opened_again() -> None:
    async def late() -> None:
        with ThreadPoolExecutor(1) as threads:
            line = Line(threads)
            await line.close()
            await client("http://127.0.0.1:1").aquery("up", 7.0, line)

    with pytest.raises(PrometheusUnavailable, match="nobody watches here any more"):
        asyncio.run(late())


def test_no_more_are_asked_at_once_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORE_AT_ONCE", 2)
    now, most = 0, 0

    async def question() -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return now

    async def several() -> None:
        with ThreadPoolExecutor(1) as threads:
            line = Line(threads)
            begun = [line.begin(question) for _ in range(5)]
            waited: list[Coroutine[Any, Any, Any]] = [_of(each) for each in begun]
            await asyncio.gather(*waited)

    asyncio.run(several())
    assert most == 2


async def _of(begun: Any) -> Any:
    return await asyncio.wrap_future(begun)
