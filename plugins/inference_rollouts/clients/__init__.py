"""The outside, one module each: no decisions, and no Airflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # few who import one of them need them all
    from inference_rollouts.clients.gke import GkeClient
    from inference_rollouts.clients.kubernetes import Cluster, Reader
    from inference_rollouts.clients.model_server import ModelServers
    from inference_rollouts.clients.prometheus import Prometheus
    from inference_rollouts.clients.registry import RegistryClient
    from inference_rollouts.clients.storage import Storage
    from inference_rollouts.clients.view import ClusterView


@dataclass(frozen=True, slots=True)
class Clients:
    """Everything that a rollout talks to. Each connects on first use.

    `gke` gives the client of a cluster by its full name, `projects/P/locations/L/clusters/C`. `view` is what
    those see who observe the cluster again and again; None: they read it each time.
    """

    cluster: Cluster
    prometheus: Prometheus
    servers: ModelServers
    storage: Storage
    gke: Callable[[str], GkeClient]
    registry: RegistryClient
    view: ClusterView | None = None

    @property
    def reader(self) -> Reader:
        """The cluster, for those who may see it as it was some seconds ago."""
        return self.view or self.cluster
