"""Prometheus through an Airflow connection: instant queries at a given time.

The connection's host, schema and port name the server (any server of the Prometheus HTTP API, Google
Managed Prometheus included); its password, if any, is sent as a bearer token. Its type is `prometheus`
(`inference_rollouts.provider` has the form); any other type will do.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import Any

import requests
from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.core.errors import RolloutError

TIMEOUT = 10.0  # seconds for one query; a look that takes longer is no look


class PrometheusUnavailable(RolloutError):
    """Prometheus did not answer a query. Nothing is known; nothing is concluded."""


class PrometheusHook(BaseHook):
    """One Prometheus server. Opens its connection on first use."""

    conn_type = "prometheus"
    hook_name = "Prometheus"
    conn_name_attr = "conn_id"
    default_conn_name = "prometheus_default"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    @cached_property
    def _session(self) -> tuple[str, requests.Session]:
        conn = BaseHook.get_connection(self.conn_id)
        session = requests.Session()
        if conn.password:
            session.headers["Authorization"] = f"Bearer {conn.password}"
        host = conn.host or "localhost"
        base = host if "://" in host else f"{conn.schema or _scheme(conn.conn_type)}://{host}"
        path = conn.extra_dejson.get("path") or ""
        return f"{base}:{conn.port}{path}" if conn.port else f"{base}{path}", session

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        """The instant vector of a query at Unix time `at`: `[{"metric": {...}, "value": [time, "1"]}]`.

        Raises PrometheusUnavailable when there is no valid answer.
        """
        base, session = self._session
        try:
            answer = session.post(
                f"{base}/api/v1/query", data={"query": promql, "time": f"{at:.3f}"}, timeout=TIMEOUT
            )
        except requests.RequestException as error:
            raise PrometheusUnavailable(f"Prometheus at {base} does not answer: {error}") from error
        value = _json(answer)
        if answer.status_code != 200 or value.get("status") != "success":
            raise PrometheusUnavailable(
                f"Prometheus at {base} answered {answer.status_code}: {_said(answer)}"
            )
        return value["data"]["result"]  # type: ignore[no-any-return]

    def test_connection(self) -> tuple[bool, str]:
        """Whether it answers a query, in a sentence: for the button Test of Airflow's form."""
        try:
            self.query("1", time.time())
        except PrometheusUnavailable as error:
            return False, str(error)
        return True, f"Prometheus at {self._session[0]} answers queries."


def _scheme(conn_type: str | None) -> str:
    """Of a connection written as URI, `https://...`, its type is the scheme."""
    return "https" if conn_type == "https" else "http"


def _said(answer: requests.Response) -> str:
    """Why a query failed: in Prometheus's words, else in HTTP's."""
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
