"""GKE's REST API for node pools."""

from __future__ import annotations

from collections.abc import Callable

from inference_rollouts.clients import bodies
from inference_rollouts.clients.bearer import Access, BearerApi, NoToken
from inference_rollouts.clients.exchanges import Reply
from inference_rollouts.core.errors import ClusterRefused, GkeBusy, QuotaExceeded
from inference_rollouts.core.limits import GKE_TIMEOUT
from inference_rollouts.core.nodes.gke import GkeObject
from inference_rollouts.core.nodes.provisioners import shortage

API = "https://container.googleapis.com"

# The cluster is busy with another operation, or the request was one too many: to be tried again.
PASSING = frozenset({"FAILED_PRECONDITION", "ABORTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"})


class GkeClient:
    """The node pools of one cluster, `projects/P/locations/L/clusters/C`; `access` is asked on first use.

    Every verb may raise GkeBusy or requests.ConnectionError, which may pass, and ClusterRefused. `timeout`:
    seconds for one request, in total.
    """

    def __init__(self, access: Callable[[], Access], cluster: str, timeout: float = GKE_TIMEOUT) -> None:
        self.cluster = cluster
        self._api = BearerApi(access, timeout)

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
        try:
            reply = self._api.ask(method, f"/v1/{path}", json=body)
        except NoToken as error:
            raise (GkeBusy if error.passing else ClusterRefused)(str(error)) from error
        if reply.status == 404:
            return None
        if not 200 <= reply.status < 300:
            return _refused(f"{method} {path}", reply)
        if not isinstance(reply.json, dict):
            raise GkeBusy(f"GKE answered {method} {path} with what is no JSON object")
        return reply.object


def _refused(what: str, reply: Reply) -> GkeObject:
    """An empty object where it was done before; else raises what the refusal means."""
    error = reply.object.get("error")
    error = error if isinstance(error, dict) else {}
    status = str(error.get("status", ""))
    if status == "ALREADY_EXISTS":
        return {}
    raise _refusal(what, reply.status, status, bodies.one_line(error.get("message") or reply.reason))


def _refusal(what: str, code: int, status: str, message: str) -> Exception:
    sentence = f"GKE refused {what}: {message} ({code} {status})".replace(" )", ")")
    if code >= 500 or code == 429 or status in PASSING:
        return GkeBusy(sentence)
    if shortage(message) is QuotaExceeded:
        return QuotaExceeded(sentence)
    return ClusterRefused(sentence)
