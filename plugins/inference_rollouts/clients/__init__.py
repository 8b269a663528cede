"""The outside, one module each: no decisions, and no Airflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inference_rollouts.clients.gke import GkeClient
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.clients.model_server import ModelServers
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.clients.storage import Storage


@dataclass(frozen=True, slots=True)
class Clients:
    """Everything that a rollout talks to. Each connects on first use.

    `gke` gives the client of a cluster by its full name, `projects/P/locations/L/clusters/C`.
    """

    cluster: Cluster
    prometheus: Prometheus
    servers: ModelServers
    storage: Storage
    gke: Callable[[str], GkeClient]
