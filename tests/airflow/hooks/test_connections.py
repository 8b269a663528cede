"""Airflow's connections lead to the outside as they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from inference_rollouts.clients import gke
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.hooks.clients import clients_of
from inference_rollouts.rollout.nodes import provisioner_of
from tests.support.fake_gke import NODE_POOLS, FakeGke, serving_gke
from tests.support.http_server import Reply, serving
from tests.support.lab.apiserver_process import ApiServer, config_map
from tests.support.nodes import NODE_POOL
from tests.support.plans import CANARY, RUN, llm_plan

Connect = Callable[..., None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Sets a connection by its id."""

    def connecting(conn_id: str, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return connecting


# Prometheus


def queried() -> list[dict[str, Any]]:
    return clients_of(llm_plan(connections={"prometheus": "prom_test"})).prometheus.query("up", 7.0)


def test_a_prometheus_has_an_address_a_path_and_a_token(connect: Connect) -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        seen.append((request.path, request.headers.get("Authorization")))
        return 200, "application/json", b'{"status": "success", "data": {"result": []}}'

    with serving(answer) as url:
        extra = {"path": "/v1/projects/p"}
        connect("prom_test", conn_type="http", host=url, password="secret", extra=extra)
        assert queried() == []
    assert seen == [("/v1/projects/p/api/v1/query", "Bearer secret")]


def test_a_prometheus_may_be_named_by_host_schema_and_port(connect: Connect) -> None:
    with serving(lambda *_: (200, "text/plain", b'{"status": "success", "data": {"result": []}}')) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        connect("prom_test", conn_type="http", schema="http", host=host, port=int(port))
        assert queried() == []


@pytest.mark.parametrize("conn_type", ["prometheus", "http", "generic"])
def test_a_connection_of_any_type_names_the_server(connect: Connect, conn_type: str) -> None:
    with serving(lambda *_: (200, "text/plain", b'{"status": "success", "data": {"result": []}}')) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        connect("prom_test", conn_type=conn_type, host=host, port=int(port), extra={"path": None})
        assert queried() == []


# GKE


@pytest.fixture
def api() -> Iterator[FakeGke]:
    with serving_gke(FakeGke()) as fake:
        yield fake


@pytest.mark.parametrize("access", ["password", "identity", "no connection"])
def test_a_google_connection_gives_a_token_or_the_workloads_own_identity(
    api: FakeGke, connect: Connect, monkeypatch: pytest.MonkeyPatch, access: str
) -> None:
    if access == "password":
        connect("google_cloud_default", conn_type="http", host=api.url, password=api.token)
    elif access == "identity":
        extra = {"metadata_server": api.url}
        connect("google_cloud_default", conn_type="http", host=api.url, extra=extra)
    else:
        monkeypatch.delenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", raising=False)
        defaults = {"url": api.url, "metadata_server": api.url}
        monkeypatch.setattr(
            "inference_rollouts.hooks.gke.GkeAccess", lambda **given: gke.GkeAccess(**defaults, **given)
        )
    plan = llm_plan(nodes=NODE_POOL)
    node_pools = clients_of(plan).gke(NODE_POOL["cluster"])
    node_pools.check_cluster()
    provisioner_of(clients_of(plan), plan, CANARY, RUN).request()
    assert ("POST", NODE_POOLS) in api.requests
    assert node_pools.find_node_pool(CANARY) is not None


# Kubernetes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("apiserver")) as running:
        yield running


def test_a_kubernetes_connection_names_a_kubeconfig(server: ApiServer, connect: Connect) -> None:
    extra = {"kube_config_path": str(server.directory / "kubeconfig")}
    connect("kube_test", conn_type="kubernetes", extra=extra)
    cluster = clients_of(llm_plan(connections={"kubernetes": "kube_test"})).cluster
    assert isinstance(cluster, KubernetesCluster)
    cluster.apply(config_map("c", a="1"))
    assert cluster.get("v1", "ConfigMap", "c")["data"] == {"a": "1"}


def test_a_connection_that_the_cluster_does_not_know_is_refused(
    server: ApiServer, connect: Connect, tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = json.loads((server.directory / "kubeconfig").read_text())
    config["users"][0]["user"]["token"] = "wrong"
    path = tmp_path_factory.mktemp("wrong") / "kubeconfig"
    path.write_text(json.dumps(config))
    connect("kube_test", conn_type="kubernetes", extra={"kube_config_path": str(path)})
    with pytest.raises(ClusterUnavailable, match="does not allow GET"):
        clients_of(llm_plan(connections={"kubernetes": "kube_test"})).cluster.get("v1", "Node", "x")
