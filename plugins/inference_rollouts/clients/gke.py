"""GKE's REST API for node pools, through an Airflow connection or as the workload's own identity.

The connection's host is the API's address (Google's by default). Its password, if any, is sent as bearer
token; without one, or without the connection, the metadata server gives tokens for the identity that Airflow
runs as. Extra `metadata_server` names another metadata server.
"""

from __future__ import annotations

import time
from typing import Any

import requests
from airflow.sdk.bases.hook import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from inference_rollouts.core.errors import ClusterRefused, QuotaExceeded
from inference_rollouts.core.nodes.provisioners import shortage

API = "https://container.googleapis.com"
METADATA_SERVER = "http://metadata.google.internal"
TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
TIMEOUT = 30.0  # seconds for one request
FRESH = 60.0  # seconds that a token must still be good for

# The cluster is busy with another operation, or the request was one too many: to be tried again.
PASSING = frozenset({"FAILED_PRECONDITION", "ABORTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"})

Object = dict[str, Any]


class GkeBusy(Exception):
    """The API cannot do it now. Not a RolloutError: it is worth trying again."""


class GkeHook:
    """The node pools of one cluster, `projects/P/locations/L/clusters/C`."""

    def __init__(self, conn_id: str, cluster: str) -> None:
        self.conn_id = conn_id
        self.cluster = cluster
        self._access: tuple[str, str, str] | None = None
        self._token = ("", 0.0)

    def check_cluster(self) -> None:
        """Raises ClusterRefused unless the cluster is there and this identity may see it."""
        if self._call("GET", self.cluster) is None:
            raise ClusterRefused(f"GKE knows no cluster {self.cluster}, or may not show it to this identity.")

    def find_node_pool(self, name: str) -> Object | None:
        """A node pool, or None where the cluster has none of this name."""
        return self._call("GET", f"{self.cluster}/nodePools/{name}")

    def create_node_pool(self, body: Object) -> None:
        """Ask for a node pool; one that is there already, or on its way, is fine."""
        if self._call("POST", f"{self.cluster}/nodePools", body) is None:
            self.check_cluster()

    def delete_node_pool(self, name: str) -> None:
        """Ask for the end of a node pool; one that has gone already is fine."""
        self._call("DELETE", f"{self.cluster}/nodePools/{name}")

    def operations(self) -> list[Object]:
        """What was lately done, and is being done, to the clusters of the same location."""
        location = self.cluster.partition("/clusters/")[0]
        found = self._call("GET", f"{location}/operations")
        return list((found or {}).get("operations") or ())

    def _call(self, method: str, path: str, body: Object | None = None) -> Object | None:
        base, password, metadata_server = self._connection()
        token = password or self._identity_token(metadata_server)
        answer = requests.request(
            method,
            f"{base}/v1/{path}",
            json=body,
            timeout=TIMEOUT,
            headers={"Authorization": f"Bearer {token}"},
        )
        if answer.status_code == 404:
            return None
        value = _json(answer)
        if not answer.ok:
            error = value.get("error") or {}
            said, status = str(error.get("message") or answer.reason), str(error.get("status", ""))
            if status == "ALREADY_EXISTS":
                return {}
            raise _refusal(f"{method} {path}", answer.status_code, status, said)
        return value

    def _connection(self) -> tuple[str, str, str]:
        """The API's address, a token if one is given, the metadata server's address."""
        if self._access is None:
            try:
                conn = BaseHook.get_connection(self.conn_id)
            except AirflowNotFoundException:
                self._access = API, "", METADATA_SERVER
            else:
                extra = conn.extra_dejson
                base = conn.host or API
                base = base if "://" in base else f"https://{base}"
                base = f"{base}:{conn.port}" if conn.port else base
                self._access = base, conn.password or "", extra.get("metadata_server") or METADATA_SERVER
        return self._access

    def _identity_token(self, metadata_server: str) -> str:
        token, until = self._token
        if time.monotonic() > until - FRESH:
            headers = {"Metadata-Flavor": "Google"}
            answer = requests.get(f"{metadata_server}{TOKEN_PATH}", headers=headers, timeout=TIMEOUT)
            if not answer.ok:
                raise ClusterRefused(
                    f"The metadata server gives no token ({answer.status_code}): give connection "
                    f"{self.conn_id} a token as password, or Airflow a workload identity."
                )
            value = _json(answer)
            token = str(value["access_token"])
            self._token = token, time.monotonic() + float(value["expires_in"])
        return token


def _json(answer: requests.Response) -> Object:
    try:
        value = answer.json()
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _refusal(what: str, code: int, status: str, said: str) -> Exception:
    sentence = f"GKE refused {what}: {said} ({code} {status})".replace(" )", ")")
    if code >= 500 or code == 429 or status in PASSING:
        return GkeBusy(sentence)
    if shortage(said) is QuotaExceeded:
        return QuotaExceeded(sentence)
    return ClusterRefused(sentence)
