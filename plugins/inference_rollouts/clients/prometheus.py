"""Prometheus: queries at given times, of any server with its HTTP API (Google's included)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.bearer import Access, BearerApi, NoToken
from inference_rollouts.clients.exchanges import Reply
from inference_rollouts.clients.vectors import VectorReader
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.limits import PROMETHEUS_TIMEOUT

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


class PrometheusClient:
    """A Prometheus over HTTP, at an address without `/api/v1`; `access` is asked for it on first use.

    `timeout`: seconds for one query, in total. `now` gives seconds.
    """

    def __init__(
        self,
        access: Callable[[], Access],
        timeout: float = PROMETHEUS_TIMEOUT,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = BearerApi(access, timeout, now)
        self._warned: set[str] = set()
        self._reader = VectorReader()

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        return self._asked("query", {"query": promql, "time": f"{at:.3f}"}, self._reader.vector)

    def query_range(self, promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        start, step = at[0], (at[-1] - at[0]) / (len(at) - 1)
        times = {"start": f"{start:.3f}", "end": f"{at[-1] + step / 2:.3f}", "step": f"{step:.3f}"}
        asked = {"query": promql, **times}
        read = partial(self._reader.vectors, start=start, step=step, count=len(at))
        return self._asked("query_range", asked, read)

    def _asked(self, path: str, asked: dict[str, str], read: Callable[[bytes], tuple[T, Any]]) -> T:
        try:
            reply = self._api.ask("POST", f"/api/v1/{path}", data=asked)
        except NoToken as error:
            raise PrometheusUnavailable(f"Prometheus cannot be asked: {error}") from error
        except requests.RequestException as error:
            raise PrometheusUnavailable(
                f"Prometheus at {self._api.access.url} does not answer: {error}"
            ) from error
        access = self._api.access
        base = access.url
        refused = f"Prometheus at {base} answered {reply.status}: "
        if reply.status != 200:
            raise PrometheusUnavailable(refused + _words(reply, access))
        try:
            answer, warnings = read(reply.body)
        except ValueError as error:
            if reply.object.get("status") != "success":
                raise PrometheusUnavailable(refused + _words(reply, access)) from error
            raise PrometheusUnavailable(f"Prometheus at {base} answered nonsense: {error}") from error
        self._warn(base, warnings)
        return answer

    def _warn(self, base: str, warnings: Any) -> None:
        """Log what the store says of its own answer, each sentence once."""
        for warning in warnings if isinstance(warnings, list) else ():
            if (words := bodies.one_line(warning)) not in self._warned:
                self._warned.add(words)
                log.warning("Prometheus at %s warns: %s", base, words)


def _words(reply: Reply, access: Access) -> str:
    """Why a query failed: in Prometheus's words, else in HTTP's."""
    if reply.status in (401, 403):
        return f"{reply.reason}. {access.credentials}"
    error = reply.object.get("error")
    return bodies.one_line(error or f"{reply.reason}, and nothing that Prometheus would say")
