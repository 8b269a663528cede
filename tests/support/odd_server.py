"""Servers on loopback that answer as no server should: slowly, for ever, in part, or not at all."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

PACE = 0.02  # seconds between two bytes of a server that drips

Talk = Callable[[socket.socket, threading.Event], None]
"""What a server does on a connection whose request it has read; the event says that the test is over."""
Choose = Callable[[str, str, bytes], Talk]
"""What a server does, by a request's method, target and body."""


def odd_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AbstractContextManager[str]:
    """The URL of a server that does `talk` with every connection, and closes it then."""
    return choosing_server(lambda *_: talk, tls)


@contextmanager
def choosing_server(choose: Choose, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The same with a talk that depends on the request."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            if request := read_request(connection):
                head, _, body = request.partition(b"\r\n\r\n")
                method, target = head.decode("latin-1").split(" ")[:2]
                choose(method, target, body)(connection, over)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()


def read_request(connection: socket.socket) -> bytes:
    """Head and body of a request; empty when the client went away."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    wanted = int(lengths[0].partition(b":")[2]) if lengths else 0
    while len(body) < wanted:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def replies(status: int, body: bytes, **headers: str) -> Talk:
    """A whole answer."""
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return lambda connection, _: connection.sendall(f"HTTP/1.1 {status} Odd\r\n{head}\r\n".encode() + body)


def replies_json(status: int, value: Any, **headers: str) -> Talk:
    return replies(status, json.dumps(value).encode(), **headers)


def hangs(connection: socket.socket, over: threading.Event) -> None:
    """Reads the request and says nothing."""
    over.wait()


def drips_head(connection: socket.socket, over: threading.Event) -> None:
    """A header that never ends, a byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while not over.wait(PACE):
        connection.sendall(b"x")


def drips_body(connection: socket.socket, over: threading.Event) -> None:
    """A body of a known length, a byte at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not over.wait(PACE):
        connection.sendall(b" ")


def drips_chunks(connection: socket.socket, over: threading.Event) -> None:
    """A body without an end, a line at a time."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not over.wait(PACE):
        connection.sendall(b"1\r\n\n\r\n")


def drips_refusal(connection: socket.socket, over: threading.Event) -> None:
    """The words of an error, a byte at a time."""
    connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000\r\n\r\n")
    while not over.wait(PACE):
        connection.sendall(b" ")


def floods(connection: socket.socket, over: threading.Event) -> None:
    """A body without an end, as fast as it is read."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not over.is_set():
        connection.sendall(b" " * 65536)


def cuts(connection: socket.socket, over: threading.Event) -> None:
    """A body that ends before its time."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"status": "suc')


def is_no_http(connection: socket.socket, over: threading.Event) -> None:
    """As a server that expects TLS."""
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")


def closes(connection: socket.socket, over: threading.Event) -> None:
    """Closes the connection without a word."""


SLOW = [hangs, drips_head, drips_body, drips_chunks, drips_refusal]
BROKEN = [cuts, is_no_http, closes]
