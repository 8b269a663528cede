"""HTTP connections on which an exchange ends by a total limit, whatever the other side does.

The time-outs of `http.client` are for each read: a server that sends a byte a second never meets them, and
each address of a name and each retry gets them anew. Here resolving, connecting, the headers
and the body of an answer share one limit: the `TimeLeft` that a request is made with.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import socket
import threading
import time
from functools import partial
from http import client
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.poolmanager import pool_classes_by_scheme
from urllib3.util.connection import create_connection

from inference_rollouts.clients.awaiting import within
from inference_rollouts.core.limits import OBSERVING_AT_ONCE, STORE_AT_ONCE

SHORTEST = 0.001  # seconds: 0 would mean a socket that does not wait at all
KEPT = STORE_AT_ONCE + OBSERVING_AT_ONCE  # connections to one server that stay open for the next request


class TimeLeft(urllib3.Timeout):
    """What is left of `seconds` from now on, for all requests that share it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(total=seconds)
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, never less than SHORTEST."""
        return max(self._end - time.monotonic(), SHORTEST)

    def clone(self) -> TimeLeft:
        return self

    def start_connect(self) -> float:
        return time.monotonic()

    @property
    def connect_timeout(self) -> float:
        return self.left

    @property
    def read_timeout(self) -> float:
        return self.left


def limit(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Make a manager's future connections keep total limits, and KEPT of them stay open; the same manager.

    One with connections of its own, as for a SOCKS proxy, keeps them: there, limits are for each read.
    """
    manager.connection_pool_kw["maxsize"] = KEPT
    if manager.pool_classes_by_scheme is pool_classes_by_scheme:
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def session() -> requests.Session:
    """A session whose connections keep total limits; to be used with `timeout=TimeLeft(...)`.

    It follows no redirects: whoever answers there is not who was asked.
    """
    made = _Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter())
    return made


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Who we are is said by a connection, and by no `.netrc`, which would go before its token."""
    return request


class _Session(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_given
        self._environments: dict[Any, Any] = {}  # by server, and what is asked of it

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """What the environment says of a server's proxies and certificates is found out once: it takes
        long."""
        asked = url[: url.find("/", len("https://"))], stream, verify
        if asked not in self._environments:
            merged = super().merge_environment_settings(url, proxies, stream, verify, cert)
            self._environments[asked] = merged
        return self._environments[asked]

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: even to tell where, requests would read the whole body, whatever its size."""


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        limit(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return limit(super().proxy_manager_for(*args, **kwargs))


class _Limited(HTTPConnection):
    """urllib3 sets `timeout` to what is left before it connects, and again before it reads."""

    @property
    def response_class(self) -> Any:  # type: ignore[override]
        return partial(_Response, _end(self.timeout))

    def _new_conn(self) -> socket.socket:
        end = _end(self.timeout)
        try:
            addresses = _resolve(self._dns_host, self.port, end)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self.host} was not resolved in time") from error
        failure: Exception = NewConnectionError(self, f"{self.host} has no address")
        for number, address in enumerate(addresses):
            share = max((end - time.monotonic()) / (len(addresses) - number), SHORTEST)
            try:
                made = create_connection(
                    (address, self.port), share, self.source_address, self.socket_options
                )
            except TimeoutError as error:
                failure = ConnectTimeoutError(self, f"{self.host} did not accept a connection in time")
                failure.__cause__ = error
            except OSError as error:
                failure = NewConnectionError(self, str(error))
                failure.__cause__ = error
            else:
                made.settimeout(max(end - time.monotonic(), SHORTEST))
                return made
        raise failure


class _TlsLimited(_Limited, HTTPSConnection):
    """The same with TLS: a handshake has the limit of the socket under it."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Limited


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsLimited

    def _validate_conn(self, conn: Any) -> None:
        """Who asks not to verify means it: nobody is warned at each request."""
        if self.cert_reqs != "CERT_NONE":
            super()._validate_conn(conn)
        elif conn.is_closed:
            conn.connect()


class _Response(client.HTTPResponse):
    """An answer that is read until a point in time, headers and all."""

    def __init__(self, end: float, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock, end))


class _Reader(io.RawIOBase):
    """Reads of a socket, each with the time that is left."""

    def __init__(self, sock: socket.socket, end: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        with contextlib.suppress(OSError):  # closed meanwhile: the read says so itself
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _end(seconds: float | None) -> float:
    """The time (`time.monotonic`) in so many seconds; None: never."""
    return time.monotonic() + seconds if seconds is not None else threading.TIMEOUT_MAX


def _resolve(host: str, port: int, end: float) -> list[str]:
    """The addresses of a host. Raises TimeoutError."""
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host.strip("[]")))]
    entries = within(
        max(end - time.monotonic(), SHORTEST),
        partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM),
    )
    return list(dict.fromkeys(str(address[0]) for *_, address in entries))
