"""How a server ends: told to, with time and without, and when its engine dies under it."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import requests

from bench.conformance.conversations import COMPLETIONS, JSON, MODEL
from bench.conformance.servers import Server

DRAIN = 25  # seconds of --shutdown-timeout
SOON, LATE = 3.0, 30.0  # seconds that are early, or late enough for a busy machine
SHORT = {"model": MODEL, "prompt": "go on", "max_tokens": 5}
LONG = SHORT | {"ignore_eos": True, "stream": True, "max_tokens": 900}
LONG_ENOUGH = LONG | {"max_tokens": 150}  # has begun when its server is told to end, and ends in time
# A real engine is gone before its server could tell, or after, or tells itself: which comes about by chance.
LOST = ("hangs", "error event", "abort")
Headers = Mapping[str, str]


def told_with_time(server: Server) -> dict[str, object]:
    """SIGTERM with `--shutdown-timeout`, under a stream."""
    with _streaming(server.url, {}, LONG_ENOUGH) as stream:
        began = time.monotonic()
        server.terminate()
        time.sleep(SOON / 3)
        found: dict[str, object] = {
            f"{path} meanwhile": requests.get(server.url + path, timeout=30).status_code
            for path in ("/health", "/v1/models")
        }
        for stream_too in (False, True):
            answer = requests.post(server.url + COMPLETIONS, json={**SHORT, "stream": stream_too}, timeout=30)
            kind = "stream" if stream_too else "answer"
            found[f"a new {kind} meanwhile"] = (answer.status_code, answer.text)
        found["the running stream"] = stream.end(DRAIN)
    # A real one that has finished goes at once, or stays until the time is over: that depends on its engine.
    _until_refused(server, DRAIN + LATE)
    found["connections are refused when the time is over"] = time.monotonic() - began < DRAIN + LATE
    found["the process goes"] = _goes(server)
    return found


def told(server: Server, headers: Headers) -> dict[str, object]:
    """SIGTERM without, under a stream."""
    with _streaming(server.url, headers) as stream:
        server.terminate()
        found: dict[str, object] = {"connections are refused soon": _until_refused(server, SOON) < SOON}
        end = stream.end(2 * SOON)
        found["the running stream, without time"] = "does not end well" if end in LOST else end
        found["the process waits for its client"] = end != "hangs" or not server.is_gone()
    found["and goes when that has left"] = _goes(server)
    return found


def engine_killed(server: Server) -> dict[str, object]:
    """SIGKILL to what computes, under a stream and a whole answer."""
    whole: list[tuple[int, str]] = []

    def ask() -> None:
        answer = requests.post(server.url + COMPLETIONS, json={**LONG, "stream": False}, timeout=120)
        whole.append((answer.status_code, answer.text))

    asking = threading.Thread(target=ask)
    asking.start()
    with _streaming(server.url, {}) as stream:
        server.crash_engine()
        end = stream.end(LATE)
    asking.join(LATE)
    return {
        "a stream under an engine that dies": end,
        "a whole answer under it": whole,
        "the server goes too": _goes(server),
    }


class Stream:
    """A stream that has begun, read by a thread."""

    def __init__(self, url: str, headers: Headers, body: Mapping[str, object]) -> None:
        connection = HTTPConnection(*_address(url), timeout=120)
        connection.connect()
        self._socket: socket.socket = connection.sock
        connection.request("POST", COMPLETIONS, json.dumps(body), {**JSON, **headers})
        self._answer = connection.getresponse()
        self._last, self._reason = self._answer.readline(), ""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        with suppress(OSError, HTTPException):
            while line := self._answer.readline():
                self._last = line.strip() or self._last
                self._reason = _reason(self._last) or self._reason

    def end(self, seconds: float) -> str:
        """What has become of it within so many seconds: why it finished, or that it did not."""
        self._reading.join(seconds)
        if self._reading.is_alive():
            return "hangs"
        return self._reason if self._last == b"data: [DONE]" else "broke off"

    def close(self) -> None:
        """Leave, also where nothing comes any more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _reason(line: bytes) -> str:
    """Why a stream finishes, by one of its lines: a finish reason, or an error; empty for any other line."""
    if line.startswith(b'data: {"error"'):
        return "error event"
    found = re.search(rb'"finish_reason":"(\w+)"', line)
    return found[1].decode() if found else ""


def _address(url: str) -> tuple[str, int]:
    place = urlsplit(url)
    return place.hostname or "", place.port or 0


@contextmanager
def _streaming(url: str, headers: Headers, body: Mapping[str, object] = LONG) -> Iterator[Stream]:
    stream = Stream(url, headers, body)
    try:
        yield stream
    finally:
        stream.close()


def _until_refused(server: Server, seconds: float) -> float:
    """Seconds until a new connection is refused; at most `seconds`."""
    began, address = time.monotonic(), _address(server.url)
    while time.monotonic() - began < seconds:
        try:
            socket.create_connection(address, 5).close()
        except ConnectionRefusedError:
            break
        time.sleep(0.1)
    return time.monotonic() - began


def _goes(server: Server) -> bool:
    deadline = time.monotonic() + LATE
    while not server.is_gone() and time.monotonic() < deadline:
        time.sleep(0.1)
    return server.is_gone()
