"""A Prometheus connection of Airflow.

Its host, schema and port name the server (any server of the Prometheus HTTP API, Google Managed Prometheus
included), extra `path` what comes before `/api/v1`. Its password, if any, is sent as bearer token. Without
one, and with the extra `workload_identity`, it is tokens of the identity that Airflow runs as: the metadata
server gives them, or the one that the extra `metadata_server` names. A user and password in the host
(`https://user:password@example.com`) are sent as basic authentication where there is no token. Its type
is `prometheus` (`inference_rollouts.provider` has the form); any other type will do.
"""

from __future__ import annotations

import time

from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.clients.bearer import METADATA_SERVER, Access
from inference_rollouts.clients.prometheus import PrometheusClient
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
        return PrometheusClient(self.access)

    def access(self) -> Access:
        """The server that the connection names, and with what it is asked."""
        conn = BaseHook.get_connection(self.conn_id)
        extra = conn.extra_dejson
        host = conn.host or "localhost"
        base = host if "://" in host else f"{conn.schema or _scheme(conn.conn_type)}://{host}"
        path = extra.get("path") or ""
        url = f"{base}:{conn.port}{path}" if conn.port else f"{base}{path}"
        identity = str(extra.get("workload_identity") or "").casefold() in ("true", "1")
        metadata_server = extra.get("metadata_server") or METADATA_SERVER
        name = f"the password of connection {self.conn_id}"
        return Access(url, conn.password or "", metadata_server if identity else "", name)

    def test_connection(self) -> tuple[bool, str]:
        """Whether it answers a query, in a sentence: for the button Test of Airflow's form."""
        try:
            self.get_conn().query("vector(1)", time.time())
        except PrometheusUnavailable as error:
            return False, str(error)
        return True, f"Prometheus at {self.access().url} answers queries."


def _scheme(conn_type: str | None) -> str:
    """Of a connection written as URI, `https://...`, its type is the scheme."""
    return "https" if conn_type == "https" else "http"
