"""Prometheus: queries at given times, of any server with its HTTP API (Google's included)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Protocol, TypeVar

import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.connections import session
from inference_rollouts.clients.exchanges import Reply, exchange
from inference_rollouts.clients.vectors import VectorReader
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.limits import ANSWER_BYTES, PROMETHEUS_TIMEOUT

log = logging.getLogger(__name__)

T = TypeVar("T")


class Prometheus(Protocol):
    """One metrics store."""

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        """The instant vector of a query at Unix time `at`: `[{"metric": {...}, "value": [time, "1"]}]`.

        Labels are strings, `le` is a number, and so is each value; NaN and infinities are numbers too.
        Raises PrometheusUnavailable when there is no valid answer.
        """

    def query_range(self, promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        """The same at each of several Unix times that rise evenly, by one request."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens, without `/api/v1`; a `token`, if any, is sent as bearer."""

    url: str
    token: str = ""


class PrometheusClient:
    """A Prometheus over HTTP; `endpoint` is asked where it is on first use. `timeout`: seconds, in total."""

    def __init__(self, endpoint: Callable[[], Endpoint], timeout: float = PROMETHEUS_TIMEOUT) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._warned: set[str] = set()
        self._reader = VectorReader()

    @cached_property
    def _session(self) -> tuple[str, requests.Session]:
        endpoint = self._endpoint()
        made = session()
        if endpoint.token:
            made.headers["Authorization"] = f"Bearer {endpoint.token}"
        return endpoint.url, made

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        return self._asked("query", {"query": promql, "time": f"{at:.3f}"}, self._reader.vector)

    def query_range(self, promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        start, step = at[0], (at[-1] - at[0]) / (len(at) - 1)
        times = {"start": f"{start:.3f}", "end": f"{at[-1] + step / 2:.3f}", "step": f"{step:.3f}"}
        asked = {"query": promql, **times}
        read = partial(self._reader.vectors, start=start, step=step, count=len(at))
        return self._asked("query_range", asked, read)

    def _asked(self, path: str, asked: dict[str, str], read: Callable[[bytes], tuple[T, Any]]) -> T:
        base, session = self._session
        url = f"{base}/api/v1/{path}"
        try:
            reply = exchange(session, "POST", url, self._timeout, ANSWER_BYTES, data=asked)
        except requests.RequestException as error:
            raise PrometheusUnavailable(f"Prometheus at {base} does not answer: {error}") from error
        refused = f"Prometheus at {base} answered {reply.status}: "
        if reply.status != 200:
            raise PrometheusUnavailable(refused + _words(reply))
        try:
            answer, warnings = read(reply.body)
        except ValueError as error:
            if reply.object.get("status") != "success":
                raise PrometheusUnavailable(refused + _words(reply)) from error
            raise PrometheusUnavailable(f"Prometheus at {base} answered nonsense: {error}") from error
        self._warn(base, warnings)
        return answer

    def _warn(self, base: str, warnings: Any) -> None:
        """Log what the store says of its own answer, each sentence once."""
        for warning in warnings if isinstance(warnings, list) else ():
            if (words := bodies.one_line(warning)) not in self._warned:
                self._warned.add(words)
                log.warning("Prometheus at %s warns: %s", base, words)


def _words(reply: Reply) -> str:
    """Why a query failed: in Prometheus's words, else in HTTP's."""
    if reply.status in (401, 403):
        return f"{reply.reason}. The connection's password is what it gets as bearer token."
    error = reply.object.get("error")
    return bodies.one_line(error or f"{reply.reason}, and nothing that Prometheus would say")
