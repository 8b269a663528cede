"""Prometheus through an Airflow connection: instant queries at a given time.

The connection's host, schema and port name the server (any server of the Prometheus HTTP API, Google
Managed Prometheus included); its password, if any, is sent as a bearer token.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import requests
from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.core.errors import RolloutError

TIMEOUT = 10.0  # seconds for one query; a look that takes longer is no look


class PrometheusUnavailable(RolloutError):
    """Prometheus did not answer a query. Nothing is known; nothing is concluded."""


class PrometheusHook:
    """One Prometheus server. Opens its connection on first use."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id

    @cached_property
    def _session(self) -> tuple[str, requests.Session]:
        conn = BaseHook.get_connection(self.conn_id)
        session = requests.Session()
        if conn.password:
            session.headers["Authorization"] = f"Bearer {conn.password}"
        host = conn.host or "localhost"
        base = host if "://" in host else f"{conn.schema or conn.conn_type or 'http'}://{host}"
        path = conn.extra_dejson.get("path", "")
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
            value = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise PrometheusUnavailable(f"Prometheus at {base} does not answer: {error}") from error
        if answer.status_code != 200 or value.get("status") != "success":
            said = value.get("error", answer.reason)
            raise PrometheusUnavailable(f"Prometheus at {base} answered {answer.status_code}: {said}")
        return value["data"]["result"]  # type: ignore[no-any-return]
