"""The cluster's client, and the API server it asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernetes.client import ApiClient, Configuration

from inference_rollouts.clients.kubernetes import KubernetesCluster
from tests.support.odd_server import choosing_server
from tests.support.scripted_api import Clock, ScriptedApi


@pytest.fixture
def server() -> ScriptedApi:
    return ScriptedApi()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cluster(server: ScriptedApi, clock: Clock) -> Iterator[KubernetesCluster]:
    with choosing_server(server.choose) as url:
        yield KubernetesCluster(lambda: ApiClient(Configuration(host=url)), "prod", 20.0, clock)
