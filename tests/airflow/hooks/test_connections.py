"""Airflow's connections lead to the outside as they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import Configuration
from kubernetes.config import incluster_config

from inference_rollouts.clients.bearer import TOKEN_PATH
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.errors import ClusterUnavailable, PrometheusUnavailable
from inference_rollouts.hooks.clients import _connect, clients_of
from inference_rollouts.rollout.nodes import provisioner_of
from lab.apiserver.endpoints.certificates import ensure
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
    return list(clients_of(llm_plan(connections={"prometheus": "prom_test"})).prometheus.query("up", 7.0))


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


@pytest.mark.parametrize("said", [True, "true", "1"])
def test_a_prometheus_is_asked_with_the_workloads_own_identity(connect: Connect, said: Any) -> None:
    seen: list[tuple[str, str | None]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        seen.append((request.path, request.headers.get("Authorization")))
        if request.path == TOKEN_PATH:
            return 200, "application/json", b'{"access_token": "of-mine", "expires_in": 3599}'
        return 200, "application/json", b'{"status": "success", "data": {"result": []}}'

    with serving(answer) as url:
        extra = {"workload_identity": said, "metadata_server": url}
        connect("prom_test", conn_type="prometheus", host=url, extra=extra)
        assert queried() == []
    assert seen == [(TOKEN_PATH, None), ("/api/v1/query", "Bearer of-mine")]


@pytest.mark.parametrize("said", [False, None, "", "false", "no"])
def test_a_prometheus_is_asked_without_a_token_where_the_connection_says_so(
    connect: Connect, said: Any
) -> None:
    seen: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        seen.append(request.headers.get("Authorization"))
        return 200, "application/json", b'{"status": "success", "data": {"result": []}}'

    with serving(answer) as url:
        connect("prom_test", conn_type="prometheus", host=url, extra={"workload_identity": said})
        assert queried() == []
    assert seen == [None]


def test_a_prometheus_that_no_connection_names_is_one_in_a_sentence() -> None:
    with pytest.raises(PrometheusUnavailable, match="prom_test"):
        queried()


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
        monkeypatch.setattr("inference_rollouts.hooks.gke.API", api.url)
        monkeypatch.setattr("inference_rollouts.hooks.gke.METADATA_SERVER", api.url)
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


def test_each_kubernetes_connection_has_a_configuration_of_its_own(connect: Connect, tmp_path: Path) -> None:
    """Triggers of plans on several clusters connect at once, in threads of one process."""
    for name in ("one", "two"):
        config = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://{name}.test"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": name}}],
            "current-context": "c",
        }
        (tmp_path / name).write_text(json.dumps(config))
        connect(f"kube_{name}", conn_type="kubernetes", extra={"kube_config_path": str(tmp_path / name)})
    before = Configuration.get_default_copy().host
    one, two = (_connect(f"kube_{name}").configuration for name in ("one", "two"))
    assert (one.host, two.host) == ("http://one.test", "http://two.test")
    assert (one.api_key, two.api_key) == ({"BearerToken": "Bearer one"}, {"BearerToken": "Bearer two"})
    assert Configuration.get_default_copy().host == before


def test_a_pods_own_cluster_is_asked_as_its_service_account(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, certificate = tmp_path / "token", ensure(tmp_path)[0]
    token.write_text("mine")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    connect("kube_own", conn_type="kubernetes", extra={"in_cluster": True})
    configuration = _connect("kube_own").configuration
    assert configuration.host == "https://192.0.2.1:443"
    assert configuration.api_key == {"BearerToken": "bearer mine"}
    assert configuration.ssl_ca_cert == str(certificate)


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
