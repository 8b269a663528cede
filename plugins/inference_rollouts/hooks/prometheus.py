"""Where a Prometheus connection of Airflow leads.

Its host, schema and port name the server (any server of the Prometheus HTTP API, Google Managed Prometheus
included), extra `path` what comes before `/api/v1`; its password, if any, is sent as bearer token.
"""

from __future__ import annotations

from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.clients.prometheus import Endpoint


def endpoint_of(conn_id: str) -> Endpoint:
    """The server that a connection names."""
    conn = BaseHook.get_connection(conn_id)
    host = conn.host or "localhost"
    base = host if "://" in host else f"{conn.schema or conn.conn_type or 'http'}://{host}"
    path = conn.extra_dejson.get("path", "")
    return Endpoint(f"{base}:{conn.port}{path}" if conn.port else f"{base}{path}", conn.password or "")
