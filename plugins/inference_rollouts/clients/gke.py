"""GKE's REST API for node pools, with a token that is given or that the metadata server gives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inference_rollouts.clients import bodies
from inference_rollouts.clients.connections import session
from inference_rollouts.clients.exchanges import Reply, exchange
from inference_rollouts.core.errors import ClusterRefused, GkeBusy, QuotaExceeded
from inference_rollouts.core.limits import ANSWER_BYTES, GKE_TIMEOUT, TOKEN_FRESH
from inference_rollouts.core.nodes.gke import GkeObject
from inference_rollouts.core.nodes.provisioners import shortage

API = "https://container.googleapis.com"
METADATA_SERVER = "http://metadata.google.internal"
TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"

# The cluster is busy with another operation, or the request was one too many: to be tried again.
PASSING = frozenset({"FAILED_PRECONDITION", "ABORTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"})


@dataclass(frozen=True, slots=True)
class GkeAccess:
    """The API's address, a bearer token, or the metadata server that gives tokens of the own identity.

    `name` says in errors where the access was set up.
    """

    url: str = API
    token: str = ""
    metadata_server: str = METADATA_SERVER
    name: str = "the GKE connection"


class GkeClient:
    """The node pools of one cluster, `projects/P/locations/L/clusters/C`; `access` is asked on first use.

    Every verb may raise GkeBusy or requests.ConnectionError, which may pass, and ClusterRefused. `timeout`:
    seconds for one request, in total.
    """

    def __init__(self, access: Callable[[], GkeAccess], cluster: str, timeout: float = GKE_TIMEOUT) -> None:
        self._find_access = access
        self.cluster = cluster
        self._timeout = timeout
        self._token = ("", 0.0)

    @cached_property
    def _access(self) -> GkeAccess:
        return self._find_access()

    def check_cluster(self) -> None:
        """Raises ClusterRefused unless the cluster is there and this identity may see it."""
        if self._call("GET", self.cluster) is None:
            raise ClusterRefused(f"GKE knows no cluster {self.cluster}, or may not show it to this identity.")

    def find_node_pool(self, name: str) -> GkeObject | None:
        """A node pool, or None where the cluster has none of this name."""
        return self._call("GET", f"{self.cluster}/nodePools/{name}")

    def create_node_pool(self, body: GkeObject) -> None:
        """Ask for a node pool; one that is there already, or on its way, is fine."""
        if self._call("POST", f"{self.cluster}/nodePools", body) is None:
            self.check_cluster()

    def delete_node_pool(self, name: str) -> None:
        """Ask for the end of a node pool; one that has gone already is fine."""
        self._call("DELETE", f"{self.cluster}/nodePools/{name}")

    def operations(self) -> list[GkeObject]:
        """What was lately done, and is being done, to the clusters of the same location."""
        location = self.cluster.partition("/clusters/")[0]
        answer = self._call("GET", f"{location}/operations")
        operations = (answer or {}).get("operations") or []
        if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
            raise GkeBusy(f"GKE answered GET {location}/operations with what is no list of operations")
        return operations

    def _call(self, method: str, path: str, body: GkeObject | None = None) -> GkeObject | None:
        token = self._access.token or self._identity_token()
        headers = {"Authorization": f"Bearer {token}"}
        reply = self._exchange(method, f"{self._access.url}/v1/{path}", json=body, headers=headers)
        if reply.status == 404:
            return None
        if not 200 <= reply.status < 300:
            error = reply.object.get("error")
            error = error if isinstance(error, dict) else {}
            words, status = (
                bodies.one_line(error.get("message") or reply.reason),
                str(error.get("status", "")),
            )
            if status == "ALREADY_EXISTS":
                return {}
            raise _refusal(f"{method} {path}", reply.status, status, words)
        if not isinstance(reply.json, dict):
            raise GkeBusy(f"GKE answered {method} {path} with what is no JSON object")
        return reply.object

    def _identity_token(self) -> str:
        token, until = self._token
        if time.monotonic() > until - TOKEN_FRESH:
            url = f"{self._access.metadata_server}{TOKEN_PATH}"
            reply = self._exchange("GET", url, headers={"Metadata-Flavor": "Google"})
            if reply.status >= 500 or reply.status == 429:
                raise GkeBusy(f"The metadata server gives no token now ({reply.status}).")
            if reply.status != 200:
                raise ClusterRefused(
                    f"The metadata server gives no token ({reply.status}): give {self._access.name} "
                    "a token as password, or Airflow a workload identity."
                )
            answer = reply.object
            if not isinstance(answer.get("access_token"), str) or not isinstance(
                answer.get("expires_in"), int
            ):
                raise GkeBusy("The metadata server answered with what is no token.")
            token = answer["access_token"]
            self._token = token, time.monotonic() + answer["expires_in"]
        return token

    def _exchange(self, method: str, url: str, **request: Any) -> Reply:
        with session() as connections:
            return exchange(connections, method, url, self._timeout, ANSWER_BYTES, **request)


def _refusal(what: str, code: int, status: str, message: str) -> Exception:
    sentence = f"GKE refused {what}: {message} ({code} {status})".replace(" )", ")")
    if code >= 500 or code == 429 or status in PASSING:
        return GkeBusy(sentence)
    if shortage(message) is QuotaExceeded:
        return QuotaExceeded(sentence)
    return ClusterRefused(sentence)
