"""Prometheus: queries at given times, of any server with its HTTP API (Google's included)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, Protocol, TypeVar
from urllib.parse import quote_plus, urlencode

import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.bearer import Access, BearerApi, NoToken
from inference_rollouts.clients.exchanges import Reply
from inference_rollouts.clients.later import BUSY, told_to_wait
from inference_rollouts.clients.line import Line
from inference_rollouts.clients.vectors import VectorReader
from inference_rollouts.core.errors import PrometheusBusy, PrometheusUnavailable
from inference_rollouts.core.limits import LONGEST_PAUSE, PROMETHEUS_TIMEOUT, STORE_SKEW

FORM = {"Content-Type": "application/x-www-form-urlencoded"}

log = logging.getLogger(__name__)

T = TypeVar("T")


class Prometheus(Protocol):
    """One metrics store."""

    def query(self, promql: str, at: float) -> Sequence[dict[str, Any]]:
        """The instant vector of a query at Unix time `at`: `[{"metric": {...}, "value": [time, "1"]}]`.

        Labels are strings, `le` is a number, and so is each value; NaN and infinities are numbers too.
        Raises PrometheusUnavailable when there is no valid answer.
        """

    async def aquery(self, promql: str, at: float, line: Line) -> Sequence[dict[str, Any]]:
        """The same in an event loop, by its line."""

    def query_range(self, promql: str, at: Sequence[float]) -> Sequence[Sequence[dict[str, Any]]]:
        """The same at each of several Unix times that rise evenly, by one request."""

    def time(self) -> float:
        """What time it is by its clock (Unix seconds), as its newest answer said; first by ours."""

    def remarks_on(self, asked: Iterable[str]) -> tuple[str, ...]:
        """What is to be said of its latest answers to these queries: its warnings, a clock unlike ours."""


class PrometheusClient:
    """A Prometheus over HTTP, at an address without `/api/v1`; `access` is asked for it on first use.

    `timeout`: seconds for one query, in total. `now` gives seconds. One that cannot answer now and says when
    it wants to be asked again is not asked before, for LONGEST_PAUSE at most. Nobody waits for that: nothing
    is known meanwhile.
    """

    def __init__(
        self,
        access: Callable[[], Access],
        timeout: float = PROMETHEUS_TIMEOUT,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = BearerApi(access, timeout, now)
        self._now = now
        self._busy: tuple[float, str] = (-math.inf, "")  # until when, and what it said
        self._warnings: dict[str, tuple[str, ...]] = {}  # by query
        self._warned: set[str] = set()
        self._reader = VectorReader()

    def query(self, promql: str, at: float) -> Sequence[dict[str, Any]]:
        read = partial(self._reader.vector, query=promql)
        return self._asked("query", promql, {"time": f"{at:.3f}"}, read)

    async def aquery(self, promql: str, at: float, line: Line) -> Sequence[dict[str, Any]]:
        form = _form(promql, {"time": f"{at:.3f}"})
        with self._in_words():
            reply = await self._api.aask(line, "POST", "/api/v1/query", data=form, headers=FORM)
        return self._understood(reply, promql, partial(self._reader.vector, query=promql))

    def query_range(self, promql: str, at: Sequence[float]) -> Sequence[Sequence[dict[str, Any]]]:
        start, step = at[0], (at[-1] - at[0]) / (len(at) - 1)
        times = {"start": f"{start:.3f}", "end": f"{at[-1] + step / 2:.3f}", "step": f"{step:.3f}"}
        read = partial(self._reader.vectors, start=start, step=step, count=len(at), query=promql)
        return self._asked("query_range", promql, times, read)

    def time(self) -> float:
        return self._api.clock.now()

    def remarks_on(self, asked: Iterable[str]) -> tuple[str, ...]:
        warnings = (each for promql in asked for each in self._warnings.get(promql, ()))
        return tuple(dict.fromkeys((*warnings, *_skew(self._api.access.url, self._api.clock.ahead))))

    def _asked(
        self, path: str, promql: str, times: Mapping[str, str], read: Callable[[bytes], tuple[T, list[Any]]]
    ) -> T:
        with self._in_words():
            reply = self._api.ask("POST", f"/api/v1/{path}", data=_form(promql, times), headers=FORM)
        return self._understood(reply, promql, read)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """What keeps a query from being answered, as PrometheusUnavailable."""
        until, said = self._busy
        if (left := until - self._now()) > 0:
            raise PrometheusBusy(f"{said}. It wants to be asked again in {left:.0f} s", left)
        try:
            yield
        except NoToken as error:
            raise PrometheusUnavailable(f"Prometheus cannot be asked: {error}") from error
        except requests.RequestException as error:
            raise PrometheusUnavailable(
                f"Prometheus at {self._api.access.url} does not answer: {error}"
            ) from error

    def _understood(self, reply: Reply, promql: str, read: Callable[[bytes], tuple[T, list[Any]]]) -> T:
        access = self._api.access
        base = access.url
        refused = f"Prometheus at {base} answered {reply.status}: "
        if reply.status != 200:
            words, after = refused + _words(reply, access), reply.headers.get("Retry-After")
            if reply.status not in BUSY:
                raise PrometheusUnavailable(words)
            later = min(told_to_wait(reply.status, after, reply.date, time.time()), LONGEST_PAUSE)
            if later:
                self._busy = self._now() + later, words
            raise PrometheusBusy(words, later)
        try:
            answer, remarks = read(reply.body)
        except ValueError as error:
            if reply.object.get("status") != "success":
                raise PrometheusUnavailable(refused + _words(reply, access)) from error
            raise PrometheusUnavailable(f"Prometheus at {base} answered nonsense: {error}") from error
        said = map(bodies.one_line, remarks)
        self._warn(promql, tuple(f"Prometheus at {base} warns: {words}." for words in said))
        return answer

    def _warn(self, promql: str, warnings: tuple[str, ...]) -> None:
        """Keep what the store says of its own answer, and log each sentence once."""
        if warnings:
            self._warnings[promql] = warnings
        else:
            self._warnings.pop(promql, None)
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("%s", warning)


def _form(promql: str, times: Mapping[str, str]) -> str:
    return f"query={_quoted(promql)}&{urlencode(times)}"


@lru_cache(maxsize=2048)
def _quoted(promql: str) -> str:
    """Kept, since a rollout asks the same as long as it lasts, and it takes long to quote."""
    return quote_plus(promql)


def _skew(url: str, ahead: float) -> tuple[str, ...]:
    if abs(ahead) <= STORE_SKEW:
        return ()
    where, age = ("ahead of", "older") if ahead > 0 else ("behind", "newer")
    return (
        f"The clock of Prometheus at {url} is {abs(ahead):.0f} s {where} ours: what it counted is {age} than "
        "it seems.",
    )


def _words(reply: Reply, access: Access) -> str:
    """Why a query failed: in the store's words (Google's are an object), else in HTTP's."""
    said = bodies.complaint({"error": error}) if (error := reply.object.get("error")) else ""
    if reply.status in (401, 403):
        return f"{said.rstrip('.') or reply.reason}. {access.credentials}"
    return said or f"{reply.reason}, and nothing that Prometheus would say"
