"""An API server of the lab, and a namespace in it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from inference_rollouts.clients.kubeconfig import connect
from inference_rollouts.clients.kubernetes import KubernetesCluster
from tests.support.lab.apiserver_process import ApiServer

numbers = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("apiserver")) as running:
        yield running


@pytest.fixture
def kubeconfig(server: ApiServer) -> Path:
    return server.directory / "kubeconfig"


@pytest.fixture
def namespace(server: ApiServer) -> str:
    name = f"test-{next(numbers)}"
    server.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@pytest.fixture
def real(kubeconfig: Path, namespace: str) -> KubernetesCluster:
    """The cluster of the API server, spoken to as in life."""
    return KubernetesCluster(lambda: connect(kubeconfig), namespace)
