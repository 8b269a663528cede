"""Prometheus: queries at given times, of any server with its HTTP API (Google's included)."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import requests

from inference_rollouts.clients import bodies
from inference_rollouts.clients.connections import session
from inference_rollouts.clients.exchanges import Reply, exchange
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.limits import ANSWER_BYTES, PROMETHEUS_TIMEOUT

NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf)|NaN", re.ASCII)
"""A float as Prometheus writes it, in values and in the label `le`."""

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

    @cached_property
    def _session(self) -> tuple[str, requests.Session]:
        endpoint = self._endpoint()
        made = session()
        if endpoint.token:
            made.headers["Authorization"] = f"Bearer {endpoint.token}"
        return endpoint.url, made

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        return self._asked("query", {"query": promql, "time": f"{at:.3f}"}, vector_of)

    def query_range(self, promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        start, step = at[0], (at[-1] - at[0]) / (len(at) - 1)
        times = {"start": f"{start:.3f}", "end": f"{at[-1] + step / 2:.3f}", "step": f"{step:.3f}"}
        asked = {"query": promql, **times}
        return self._asked("query_range", asked, lambda data: vectors_of(data, start, step, len(at)))

    def _asked(self, path: str, asked: dict[str, str], read: Callable[[Any], T]) -> T:
        base, session = self._session
        url = f"{base}/api/v1/{path}"
        try:
            reply = exchange(session, "POST", url, self._timeout, ANSWER_BYTES, data=asked)
        except requests.RequestException as error:
            raise PrometheusUnavailable(f"Prometheus at {base} does not answer: {error}") from error
        answer = reply.object
        if reply.status != 200 or answer.get("status") != "success":
            raise PrometheusUnavailable(f"Prometheus at {base} answered {reply.status}: {_words(reply)}")
        self._warn(base, answer.get("warnings"))
        try:
            return read(answer.get("data"))
        except ValueError as error:
            raise PrometheusUnavailable(f"Prometheus at {base} answered nonsense: {error}") from error

    def _warn(self, base: str, warnings: Any) -> None:
        """Log what the store says of its own answer, each sentence once."""
        for warning in warnings if isinstance(warnings, list) else ():
            if (words := bodies.one_line(warning)) not in self._warned:
                self._warned.add(words)
                log.warning("Prometheus at %s warns: %s", base, words)


def vector_of(data: Any) -> list[dict[str, Any]]:
    """The samples in the `data` of an answer. Raises ValueError unless all of it is an instant vector."""
    samples = _series(data, "vector")
    if not all(_is_value(sample.get("value")) for sample in samples):
        raise ValueError("a sample without a value")
    return samples


def vectors_of(data: Any, start: float, step: float, count: int) -> list[list[dict[str, Any]]]:
    """The instant vectors at `start`, `start + step`..., out of the `data` of an answer to a range query.

    Raises ValueError unless all of it is a matrix of values at these `count` times.
    """
    vectors: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    for series in _series(data, "matrix"):
        values = series.get("values")
        if not isinstance(values, list) or not all(map(_is_value, values)):
            raise ValueError("a series without values")
        for value in values:
            place = round((value[0] - start) / step)
            if not 0 <= place < count:
                raise ValueError("a value at a time that was not asked for")
            vectors[place].append({"metric": series["metric"], "value": value})
    return vectors


def _series(data: Any, kind: str) -> list[dict[str, Any]]:
    """The entries of a result of this type, each with valid labels."""
    if not isinstance(data, dict) or data.get("resultType", kind) != kind:
        raise ValueError(f"no {kind}")
    entries = data.get("result")
    if not isinstance(entries, list):
        raise ValueError(f"a {kind} without samples")
    if not all(isinstance(each, dict) and _are_labels(each.get("metric")) for each in entries):
        raise ValueError("a sample without labels")
    return entries


def _are_labels(labels: Any) -> bool:
    return (
        isinstance(labels, dict)
        and all(isinstance(value, str) for value in labels.values())
        and NUMBER.fullmatch(labels.get("le", "0")) is not None
    )


def _is_value(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    at, number = value
    is_time = isinstance(at, int | float) and not isinstance(at, bool) and math.isfinite(at)
    return is_time and isinstance(number, str) and NUMBER.fullmatch(number) is not None


def _words(reply: Reply) -> str:
    """Why a query failed: in Prometheus's words, else in HTTP's."""
    if reply.status in (401, 403):
        return f"{reply.reason}. The connection's password is what it gets as bearer token."
    error = reply.object.get("error")
    return bodies.one_line(error or f"{reply.reason}, and nothing that Prometheus would say")
