"""Where a connection of Airflow leads that names an OCI registry.

Its host, schema and port name the server, login and password are what its token server is asked with; a
password alone is sent as bearer token.
"""

from __future__ import annotations

from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.clients.registry import RegistryAccess


def registry_access_of(conn_id: str) -> RegistryAccess:
    """The access that a connection gives."""
    conn = BaseHook.get_connection(conn_id)
    host = conn.host or "localhost"
    base = host if "://" in host else f"{conn.schema or 'https'}://{host}"
    url = f"{base}:{conn.port}" if conn.port else base
    return RegistryAccess(url.rstrip("/"), conn.login or "", conn.password or "", f"connection {conn_id}")
