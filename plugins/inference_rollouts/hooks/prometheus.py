"""A Prometheus connection of Airflow.

Its host, schema and port name the server (any server of the Prometheus HTTP API, Google Managed Prometheus
included), extra `path` what comes before `/api/v1`; its password, if any, is sent as bearer token. Its type
is `prometheus` (`inference_rollouts.provider` has the form); any other type will do.
"""

from __future__ import annotations

import time

from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.clients.prometheus import Endpoint, PrometheusClient
from inference_rollouts.core.errors import PrometheusUnavailable


class PrometheusHook(BaseHook):
    """Where a connection leads, and whether anybody answers there."""

    conn_type = "prometheus"
    hook_name = "Prometheus"
    conn_name_attr = "conn_id"
    default_conn_name = "prometheus_default"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_conn(self) -> PrometheusClient:
        """A client, which looks the connection up on first use."""
        return PrometheusClient(self.endpoint)

    def endpoint(self) -> Endpoint:
        """The server that the connection names."""
        conn = BaseHook.get_connection(self.conn_id)
        host = conn.host or "localhost"
        base = host if "://" in host else f"{conn.schema or _scheme(conn.conn_type)}://{host}"
        path = conn.extra_dejson.get("path") or ""
        return Endpoint(f"{base}:{conn.port}{path}" if conn.port else f"{base}{path}", conn.password or "")

    def test_connection(self) -> tuple[bool, str]:
        """Whether it answers a query, in a sentence: for the button Test of Airflow's form."""
        try:
            self.get_conn().query("vector(1)", time.time())
        except PrometheusUnavailable as error:
            return False, str(error)
        return True, f"Prometheus at {self.endpoint().url} answers queries."


def _scheme(conn_type: str | None) -> str:
    """Of a connection written as URI, `https://...`, its type is the scheme."""
    return "https" if conn_type == "https" else "http"
