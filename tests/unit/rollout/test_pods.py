"""Where the model server of a pod is found."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import ServerUnavailable
from inference_rollouts.rollout.pods import base_url


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "llm-0"}, "status": status}


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("10.0.0.7", "http://10.0.0.7:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_an_address_of_either_family_makes_a_url(address: str, url: str) -> None:
    assert base_url(pod(podIP=address), 8000) == url


@pytest.mark.parametrize(
    ("probe", "scheme"),
    [
        ({"readinessProbe": {"httpGet": {"scheme": "HTTPS", "port": 8000}}}, "https"),
        ({"livenessProbe": {"httpGet": {"scheme": "HTTPS", "port": "api"}}}, "https"),
        ({"livenessProbe": {"httpGet": {"scheme": "HTTPS", "port": 9000}}}, "http"),
        ({"readinessProbe": {"httpGet": {"port": 8000}}}, "http"),
        ({"readinessProbe": {"exec": {}}}, "http"),
    ],
)
def test_a_pod_that_is_probed_by_https_is_asked_by_https(probe: dict[str, Any], scheme: str) -> None:
    container = {"name": "vllm", "ports": [{"name": "api", "containerPort": 8000}], **probe}
    live = pod(podIP="10.0.0.7") | {"spec": {"containers": [container]}}
    assert base_url(live, 8000) == f"{scheme}://10.0.0.7:8000"


@pytest.mark.parametrize("flag", ["--ssl-certfile=crt", "--ssl_certfile=crt", "--ssl-cert-file=crt"])
@pytest.mark.parametrize(
    ("ports", "scheme"),
    [([{"containerPort": 8000}], "https"), ([], "https"), ([{"containerPort": 1}], "http")],
)
def test_a_server_with_a_certificate_is_asked_by_https_however_it_is_probed(
    flag: str, ports: list[dict[str, Any]], scheme: str
) -> None:
    """Where the port has another container, that one's does not count."""
    server = {"name": "vllm", "command": ["vllm", "serve"], "args": ["m", flag], "ports": ports}
    other = {"name": "proxy", "ports": [] if scheme == "https" else [{"containerPort": 8000}]}
    live = pod(podIP="10.0.0.7") | {"spec": {"containers": [server, other]}}
    assert base_url(live, 8000) == f"{scheme}://10.0.0.7:8000"


@pytest.mark.parametrize("status", [{}, {"podIP": ""}, {"podIP": None}, {"podIP": "soon"}])
def test_a_pod_without_an_address_is_named_and_may_have_one_later(status: dict[str, Any]) -> None:
    with pytest.raises(ServerUnavailable, match="Pod llm-0 has no IP address yet"):
        base_url(pod(**status), 8000)
