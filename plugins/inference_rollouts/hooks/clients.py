"""A plan's connections, as clients; and a run with them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow.sdk.bases.hook import BaseHook

from inference_rollouts.clients import Clients
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.run import Run

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


def clients_of(plan: Plan) -> Clients:
    """The clients that a plan's connections lead to."""
    return clients_at(plan.connections, plan.namespace)


def clients_at(connections: Connections, namespace: str) -> Clients:
    """The clients that connections lead to. A connection is looked up when it is first used."""
    # Imported on use: this module is imported whenever Airflow parses the DAGs.
    from inference_rollouts.clients.gke import GkeClient
    from inference_rollouts.clients.kubernetes import KubernetesCluster
    from inference_rollouts.clients.model_server import HttpModelServers
    from inference_rollouts.clients.registry import RegistryClient
    from inference_rollouts.clients.view import ClusterView
    from inference_rollouts.hooks.gke import gke_access_of
    from inference_rollouts.hooks.prometheus import PrometheusHook
    from inference_rollouts.hooks.registry import registry_access_of
    from inference_rollouts.hooks.storage import ObjectStorage

    cluster = KubernetesCluster(partial(_connect, connections.kubernetes), namespace)
    return Clients(
        cluster=cluster,
        prometheus=PrometheusHook(connections.prometheus).get_conn(),
        servers=HttpModelServers(key=partial(_key_of, connections.model_servers)),
        storage=ObjectStorage(),
        gke=partial(GkeClient, partial(gke_access_of, connections.google)),
        registry=RegistryClient(partial(registry_access_of, connections.registry)),
        view=ClusterView(cluster),
    )


def open_run(frozen: Frozen) -> Run:
    """A run as preflight froze it, with its clients."""
    return Run(frozen, clients_of(frozen.plan), kind_of(frozen.plan))


def _key_of(conn_id: str | None) -> str:
    """The password of a connection; empty where none is named."""
    return (BaseHook.get_connection(conn_id).password or "") if conn_id else ""


def _connect(conn_id: str) -> ApiClient:
    """With a configuration of its own: the official client's default one is shared by all connections."""
    # On use, as above.
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.config import load_incluster_config

    configuration = Configuration()
    hook = KubernetesHook(conn_id=conn_id, client_configuration=configuration)
    client = hook.get_conn()
    if not hook.is_in_cluster:
        return client
    load_incluster_config(configuration)  # which the hook loads into the default one
    return ApiClient(configuration)
