"""The outside of a rollout, in memory."""

from __future__ import annotations

from inference_rollouts.clients import Clients
from inference_rollouts.clients.bearer import Access
from inference_rollouts.clients.gke import GkeClient
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.clients.model_server import ModelServers
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.clients.registry import RegistryAccess, RegistryClient
from inference_rollouts.clients.storage import Storage
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_gke import FakeGke
from tests.support.fake_prometheus import FakePrometheus
from tests.support.fake_servers import FakeServers
from tests.support.fake_storage import FakeStorage


def fake_clients(
    cluster: Cluster,
    *,
    prometheus: Prometheus | None = None,
    servers: ModelServers | None = None,
    storage: Storage | None = None,
    gke: FakeGke | None = None,
    registry_url: str = "",
) -> Clients:
    """Clients of these, and of fakes for the rest; GKE's API is spoken to where one is given.

    A metrics store in memory counts what the servers answer.
    """
    servers = servers or FakeServers()
    if prometheus is None:
        assert isinstance(cluster, FakeCluster), "a metrics store counts what a fake cluster routes"
        prometheus = FakePrometheus(cluster)
    if isinstance(prometheus, FakePrometheus):
        prometheus.answered = getattr(servers, "answered", prometheus.answered)

    def gke_client(name: str) -> GkeClient:
        assert gke is not None, "nothing here is GKE"
        return GkeClient(lambda: Access(gke.url, gke.token), name)

    registry = RegistryClient(lambda: RegistryAccess(registry_url))
    return Clients(cluster, prometheus, servers, storage or FakeStorage(), gke_client, registry)
