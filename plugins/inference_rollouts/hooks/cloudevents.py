"""The connection type `cloudevents`: a receiver of CloudEvents over HTTP.

Host is the address, as a whole (`https://example.com/hooks/x`) or with scheme, port and extra `path` beside
it. Login and password are sent as basic authentication, a password alone as bearer token, extra `headers` as
they are.
"""

from __future__ import annotations

from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.clients.webhook import Receiver


class CloudEventsHook(BaseHook):
    """Reads the connection; it is sent to by `clients.webhook`."""

    conn_name_attr = "conn_id"
    default_conn_name = "cloudevents_default"
    conn_type = "cloudevents"
    hook_name = "CloudEvents"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    def get_conn(self) -> Receiver:
        """The receiver that the connection names. Raises PlanInvalid when it names none."""
        conn = self.get_connection(self.conn_id)
        extra = conn.extra_dejson
        host, password = conn.host or "", conn.password or ""
        if host and "://" not in host:
            scheme = conn.schema or ("http" if conn.conn_type == "http" else "https")
            host = f"{scheme}://{host}"
        url = f"{host}:{conn.port}" if conn.port else host
        headers = {str(key): str(value) for key, value in (extra.get("headers") or {}).items()}
        if password and not conn.login:
            headers["Authorization"] = f"Bearer {password}"
        receiver = Receiver(
            url=f"{url}{extra.get('path') or ''}",
            headers=headers,
            login=(conn.login, password) if conn.login else None,
            name=f"connection {self.conn_id}",
        )
        receiver.check()
        return receiver
