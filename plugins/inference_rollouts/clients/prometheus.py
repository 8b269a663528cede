"""Prometheus: instant queries at a given time, of any server with its HTTP API (Google's included)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import requests

from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.limits import PROMETHEUS_TIMEOUT


class Prometheus(Protocol):
    """One metrics store."""

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        """The instant vector of a query at Unix time `at`: `[{"metric": {...}, "value": [time, "1"]}]`.

        Raises PrometheusUnavailable when there is no valid answer.
        """


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens, without `/api/v1`; a `token`, if any, is sent as bearer."""

    url: str
    token: str = ""


class PrometheusClient:
    """A Prometheus over HTTP; `endpoint` is asked where it is on first use."""

    def __init__(self, endpoint: Callable[[], Endpoint]) -> None:
        self._endpoint = endpoint

    @cached_property
    def _session(self) -> tuple[str, requests.Session]:
        endpoint = self._endpoint()
        session = requests.Session()
        if endpoint.token:
            session.headers["Authorization"] = f"Bearer {endpoint.token}"
        return endpoint.url, session

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        base, session = self._session
        asked = {"query": promql, "time": f"{at:.3f}"}
        try:
            answer = session.post(f"{base}/api/v1/query", data=asked, timeout=PROMETHEUS_TIMEOUT)
        except requests.RequestException as error:
            raise PrometheusUnavailable(f"Prometheus at {base} does not answer: {error}") from error
        value = _json(answer)
        if answer.status_code != 200 or value.get("status") != "success":
            why = _reason(answer)
            raise PrometheusUnavailable(f"Prometheus at {base} answered {answer.status_code}: {why}")
        return value["data"]["result"]  # type: ignore[no-any-return]


def _reason(answer: requests.Response) -> str:
    """Why a query failed: as Prometheus says, else as HTTP does."""
    if answer.status_code in (401, 403):
        return f"{answer.reason}. The connection's password is what it gets as bearer token."
    return str(_json(answer).get("error") or f"{answer.reason}, and nothing that Prometheus would say")


def _json(answer: requests.Response) -> dict[str, Any]:
    """The answer's object; empty if it has none, as the page of a proxy that asks for a login."""
    try:
        value = answer.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
