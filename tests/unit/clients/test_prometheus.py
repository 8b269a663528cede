"""A metrics store over HTTP: what is no valid answer is unavailable."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

import pytest

from inference_rollouts.clients.prometheus import Endpoint, PrometheusClient
from inference_rollouts.core.errors import PrometheusUnavailable
from tests.support.http_server import Reply, serving


def client(url: str, token: str = "") -> PrometheusClient:
    return PrometheusClient(lambda: Endpoint(url, token))


def test_a_query_goes_with_its_time_path_and_token() -> None:
    seen: list[tuple[str, str | None, str]] = []

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Reply:
        seen.append((request.path, request.headers.get("Authorization"), body.decode()))
        data = {"result": [{"metric": {"pod": "a"}, "value": [7, "1"]}]}
        return 200, "application/json", json.dumps({"status": "success", "data": data}).encode()

    with serving(answer) as url:
        vector = client(f"{url}/v1/projects/p", "secret").query('up{pod="a"}', 7.0)
    assert vector == [{"metric": {"pod": "a"}, "value": [7, "1"]}]
    assert seen == [
        ("/v1/projects/p/api/v1/query", "Bearer secret", "query=up%7Bpod%3D%22a%22%7D&time=7.000")
    ]


@pytest.mark.parametrize(
    "reply",
    [
        (400, "application/json", b'{"status": "error", "error": "parse error"}'),
        (503, "text/plain", b"not ready"),
        (200, "application/json", b'{"status": "error"}'),
        (200, "text/html", b"<html>"),
    ],
)
def test_what_is_no_answer_is_unavailable(reply: Reply) -> None:
    with serving(lambda *_: reply) as url, pytest.raises(PrometheusUnavailable):
        client(url).query("up", 1.0)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with serving(lambda *_: (200, "text/plain", b"")) as url:
        pass
    with pytest.raises(PrometheusUnavailable, match="does not answer"):
        client(url).query("up", 1.0)
