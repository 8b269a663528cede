"""Where a Google connection of Airflow leads, or the workload's own identity.

The connection's host is the API's address (Google's by default). Its password, if any, is sent as bearer
token; without one, or without the connection, the metadata server gives tokens for the identity that Airflow
runs as. Extra `metadata_server` names another metadata server.
"""

from __future__ import annotations

from airflow.sdk.bases.hook import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from inference_rollouts.clients.bearer import METADATA_SERVER, Access
from inference_rollouts.clients.gke import API


def gke_access_of(conn_id: str) -> Access:
    """The access that a connection gives; that of the own identity where there is no such connection."""
    name = f"the password of connection {conn_id}"
    try:
        conn = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return Access(API, metadata_server=METADATA_SERVER, name=name)
    base = conn.host or API
    base = base if "://" in base else f"https://{base}"
    base = f"{base}:{conn.port}" if conn.port else base
    metadata_server = conn.extra_dejson.get("metadata_server") or METADATA_SERVER
    return Access(base, conn.password or "", metadata_server, name)
