"""Every exchange ends by its limit, and a body by its size, whatever the other side does."""

from __future__ import annotations

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.connections import TimeLeft, session
from inference_rollouts.clients.exchanges import Reply, exchange
from tests.support.http_server import serving
from tests.support.odd_server import BROKEN, SLOW, Talk, floods, hangs, odd_server, replies, replies_json
from tests.support.stopwatch import ends_within

LIMIT = 0.3  # seconds
SOON = 10 * LIMIT  # far less than those servers take, and enough for a machine that is busy

Certificate = tuple[str, ssl.SSLContext]


def ask(url: str, most: int = 1000, seconds: float = LIMIT, **request: Any) -> Reply:
    with session() as made:
        return exchange(made, "GET", url, TimeLeft(seconds), most, **request)


def fails_soon(url: str, words: str, **request: Any) -> None:
    with ends_within(SOON), pytest.raises(requests.ConnectionError) as caught:
        ask(url, **request)
    assert words in str(caught.value)
    assert "object at 0x" not in str(caught.value)


@pytest.mark.parametrize("talk", SLOW, ids=lambda talk: talk.__name__)
def test_a_server_that_is_slow_in_whatever_way_is_left_at_the_limit(talk: Talk) -> None:
    with odd_server(talk) as url:
        fails_soon(url, "no whole answer within 0.3 s", most=10**9)


@pytest.mark.parametrize("talk", SLOW[:3], ids=lambda talk: talk.__name__)
def test_the_limit_holds_under_tls_as_well(talk: Talk, certificate: Certificate) -> None:
    certificate_file, context = certificate
    with odd_server(talk, context) as url:
        fails_soon(url, "no whole answer within 0.3 s", verify=certificate_file)


def test_a_tls_handshake_that_hangs_is_left_at_the_limit() -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    with silent:
        fails_soon(f"https://127.0.0.1:{silent.getsockname()[1]}", "no whole answer within 0.3 s")


def test_an_answer_over_tls_is_read_whole(certificate: Certificate) -> None:
    certificate_file, context = certificate
    with odd_server(replies(200, b"x" * 900), context) as url:
        assert ask(url, seconds=60, verify=certificate_file).body == b"x" * 900


@pytest.mark.parametrize("talk", BROKEN, ids=lambda talk: talk.__name__)
def test_a_broken_answer_is_an_error_in_one_phrase(talk: Talk) -> None:
    with odd_server(talk) as url:
        fails_soon(url, "", seconds=60)


def test_a_refused_connection_says_so() -> None:
    with odd_server(hangs) as url:
        pass
    fails_soon(url, "Connection refused", seconds=60)


def test_a_flood_is_refused_at_its_size() -> None:
    with odd_server(floods) as url:
        fails_soon(url, "the answer is larger than 1000 bytes", seconds=60)


def test_a_body_may_have_exactly_its_size() -> None:
    with odd_server(replies(200, b"x" * 1000)) as url:
        assert len(ask(url, seconds=60).body) == 1000
    with odd_server(replies(200, b"x" * 1001)) as url:
        fails_soon(url, "larger than 1000 bytes", seconds=60)


def test_a_promise_to_answer_later_is_not_waited_for() -> None:
    with odd_server(replies_json(503, {}, Retry_After="30")) as url, ends_within(SOON):
        assert ask(url, seconds=60).status == 503


def test_a_redirect_is_not_followed_however_long_its_own_body_is() -> None:
    def redirects(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: https://login.test/\r\n\r\n")
        floods(connection, over)

    with odd_server(redirects) as url:
        fails_soon(url, "it redirects to https://login.test/", seconds=60)


def test_a_name_that_is_not_resolved_is_left_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait())
    try:
        fails_soon("http://nowhere.test", "no whole answer within 0.3 s")
    finally:
        over.set()


def test_a_name_without_an_address_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    fails_soon("http://nowhere.test", "Name or service not known", seconds=60)


def test_the_second_address_is_tried_when_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [("127.0.0.2", 0), ("127.0.0.1", 0)]
    entries = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *a, **kw: entries if host == "two.test" else real(host, *a, **kw),
    )
    with odd_server(replies(200, b"ok")) as url:
        assert ask(url.replace("127.0.0.1", "two.test"), seconds=60).body == b"ok"


def test_a_connection_is_used_again() -> None:
    """One limit must not outlive its exchange."""
    opened: list[socket.socket] = []

    def keeps(connection: socket.socket, over: threading.Event) -> None:
        opened.append(connection)
        for _ in range(2):
            replies(200, b"ok", Connection="keep-alive")(connection, over)
            if not connection.recv(65536):
                return

    with odd_server(keeps) as url, session() as made:
        assert exchange(made, "GET", url, TimeLeft(5), 10).body == b"ok"
        assert exchange(made, "GET", url, TimeLeft(5), 10).body == b"ok"
    assert len(opened) == 1


def test_lines_come_as_they_are_sent() -> None:
    parts = [b"one\r\ntw", b"o\n\n", b"th\xff", b"ree", b""]

    class Body:
        def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
            return parts.pop(0)

    assert list(bodies.lines(Body(), 100)) == ["one", "two", "", "th\ufffdree"]


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "1e400", "[-Infinity]", "[" * 100_000, "1" * 5000, b"\xff", b'"\xc3']
)
def test_what_is_no_usable_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (of whatever kind)
        bodies.parse(text)


def test_words_of_others_are_printable_short_and_on_one_line() -> None:
    assert bodies.one_line("a\n\tb\x00c\ud800" + "x" * 1000) == "a b\ufffdc\ufffd" + "x" * 294


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of 127.0.0.1, and a server's context with it."""
    from lab.apiserver.endpoints.certificates import ensure

    directory = tmp_path_factory.mktemp("tls")
    ca, path, key = ensure(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return str(ca), context


def test_the_environment_is_asked_once_about_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look for proxies takes longer than all else that is done for a request."""
    asked: list[str] = []

    def proxies(url: str, **_: Any) -> dict[str, str]:
        asked.append(url)
        return {}

    monkeypatch.setattr("requests.sessions.get_environ_proxies", proxies)
    with odd_server(replies(200, b"{}")) as url, session() as made:
        for path in ("/a", "/b"):
            assert exchange(made, "GET", url + path, TimeLeft(LIMIT), 100).status == 200
    assert asked == [url + "/a"]


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with odd_server(replies(200, b"by proxy")) as url:
        monkeypatch.setenv("http_proxy", url)
        assert ask("http://nowhere.invalid/").body == b"by proxy"


def test_no_netrc_goes_before_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    def told(request: BaseHTTPRequestHandler, _: bytes) -> tuple[int, str, bytes]:
        return 200, "text/plain", str(request.headers["Authorization"]).encode()

    with serving(told) as url:
        assert ask(url, headers={"Authorization": "Bearer mine"}).body == b"Bearer mine"


def test_who_asks_at_once_has_connections_to_ask_again() -> None:
    many, all_are_here, met = 20, threading.Barrier(20), set()

    def answer(asked: BaseHTTPRequestHandler, _: bytes) -> tuple[int, str, bytes]:
        met.add(asked.client_address)
        asked.protocol_version, asked.close_connection = "HTTP/1.1", False
        all_are_here.wait(10)
        return 200, "text/plain", b"here"

    with serving(answer) as url, session() as made, ThreadPoolExecutor(many) as threads:
        for _ in range(3):
            list(threads.map(lambda _: exchange(made, "GET", url, TimeLeft(10), 100), range(many)))
    assert len(met) == many
