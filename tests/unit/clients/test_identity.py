"""Who we are to an API server: found out anew when it has expired, and never waited for beyond the limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.config.incluster_config import InClusterConfigLoader

from inference_rollouts.clients.api_server import ApiServer
from inference_rollouts.clients.kubernetes import KubernetesCluster
from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.limits import IDENTITY_TTL
from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.http_server import serving
from tests.support.odd_server import choosing_server
from tests.support.scripted_api import API, ROUTE, Clock, GuardedApi, ScriptedApi
from tests.support.stopwatch import ends_within

LIMIT = 0.3


def get(cluster: KubernetesCluster) -> K8sObject:
    return cluster.get(API, "HTTPRoute", "llm")


def connecting(url: str, *tokens: str) -> tuple[Callable[[], ApiClient], list[str]]:
    """A connection that gives the next token each time, the last one again and again; and those it gave."""
    given: list[str] = []

    def connect() -> ApiClient:
        given.append(tokens[min(len(given), len(tokens) - 1)])
        return ApiClient(Configuration(host=url, api_key={"BearerToken": f"Bearer {given[-1]}"}))

    return connect, given


def test_an_identity_that_has_expired_is_found_out_anew_and_the_request_made_again() -> None:
    api = GuardedApi("new")
    with serving(api.answer) as url:
        connect, given = connecting(url, "old", "new")
        cluster = KubernetesCluster(connect, "prod")
        assert get(cluster) == get(cluster) == ROUTE
    assert given == ["old", "new"]
    assert api.refused == 1


def test_an_identity_that_is_refused_and_stays_as_it_is_is_not_sent_again() -> None:
    api = GuardedApi("another")
    with serving(api.answer) as url:
        connect, _ = connecting(url, "mine")
        cluster = KubernetesCluster(connect, "prod")
        with pytest.raises(ClusterUnavailable, match=r"does not allow GET .* \(401\)"):
            get(cluster)
        assert api.refused == 1
        api.token = "mine"
        assert get(cluster) == ROUTE


def test_who_is_refused_takes_no_identity_from_who_asks_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each moment another thread may be refused, and forget who all are."""
    monkeypatch.setattr(ApiServer, "_known", property(lambda _: None, lambda *_: None), raising=False)
    api = GuardedApi("mine")
    with serving(api.answer) as url:
        assert get(KubernetesCluster(connecting(url, "mine")[0], "prod")) == ROUTE


def test_a_request_is_made_again_once_at_most() -> None:
    api = GuardedApi("another")
    with serving(api.answer) as url:
        connect, _ = connecting(url, "one", "two", "three")
        with pytest.raises(ClusterUnavailable):
            get(KubernetesCluster(connect, "prod"))
    assert (api.refused, api.answered) == (2, 0)


def test_a_service_accounts_token_is_read_anew_from_its_file(clock: Clock, tmp_path: Path) -> None:
    """The official client reads it once a minute, and the kubelet replaces it hours before it expires."""
    file, certificate = tmp_path / "token", tmp_path / "ca.crt"
    file.write_text("first")
    certificate.write_text("x")
    api = GuardedApi("first")
    with serving(api.answer) as url:
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        loader = InClusterConfigLoader(str(file), str(certificate), environ=environment)
        loader.load_and_set(configuration := Configuration())
        loader.host, loader.ssl_ca_cert, configuration.ssl_ca_cert = url, None, None
        client = ApiClient(configuration)
        cluster = KubernetesCluster(lambda: client, "prod", 20.0, clock)
        assert get(cluster) == ROUTE
        file.write_text("second")
        api.token = "second"
        loader.token_expires_at = datetime.now()  # as it is a minute later
        clock.now += IDENTITY_TTL
        assert get(cluster) == ROUTE
    assert api.refused == 0


@pytest.mark.parametrize("when", ["connecting", "getting a token"])
def test_a_plugin_that_hangs_is_left_at_the_limit_and_asked_once(when: str) -> None:
    over, asked = threading.Event(), []

    def hang(_: Configuration | None = None) -> None:
        asked.append(when)
        over.wait()

    configuration = Configuration(host="http://127.0.0.1:9", api_key={"BearerToken": "Bearer x"})
    configuration.refresh_api_key_hook = hang

    def connect() -> ApiClient:
        if when == "connecting":
            hang()
        return ApiClient(configuration)

    cluster = KubernetesCluster(connect, "prod", LIMIT)
    words = r"no credentials: no whole answer within 0\.3 s"
    try:
        with ends_within(20 * LIMIT):
            for _ in range(2):
                with pytest.raises(ClusterUnavailable, match=words):
                    get(cluster)
        assert len(asked) == 1
    finally:
        over.set()


@pytest.mark.parametrize("when", ["connecting", "getting a token"])
def test_an_identity_that_cannot_be_found_out_may_be_the_next_time(server: ScriptedApi, when: str) -> None:
    faults = [RuntimeError("gke-gcloud-auth-plugin: exit code 1")]

    def stumble(_: Configuration | None = None) -> None:
        if faults:
            raise faults.pop()

    with choosing_server(server.choose) as url:
        configuration = Configuration(host=url, api_key={"BearerToken": "Bearer x"})
        configuration.refresh_api_key_hook = stumble

        def connect() -> ApiClient:
            if when == "connecting":
                stumble()
            return ApiClient(configuration)

        cluster = KubernetesCluster(connect, "prod")
        with pytest.raises(ClusterUnavailable, match="no credentials: gke-gcloud-auth-plugin: exit code 1"):
            get(cluster)
        assert get(cluster) == ROUTE
