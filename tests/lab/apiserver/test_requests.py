"""Requests before they reach an object: paths, bodies, media types, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lab.apiserver_process import MAPS, MERGE_PATCH, ApiServer, config_map, deployment


def test_first_namespaces_are_there(server: ApiServer) -> None:
    names = {item["metadata"]["name"] for item in server.ok("GET", "/api/v1/namespaces")["items"]}
    assert {"default", "kube-system"} <= names


def test_health_and_version_need_no_token(server: ApiServer) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/version"):
        assert server.call("GET", path, token="").code == 200
    assert server.call("GET", "/api", token="").code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason"),
    [
        ("GET", "/api/v1/namespaces/default/nothings", None, 404, "NotFound"),
        ("GET", "/apis/no.such/v1/things", None, 404, "NotFound"),
        ("GET", "/api/v1/namespaces/default/configmaps/c/status", None, 404, "NotFound"),
        ("PUT", "/api/v1/namespaces/default/configmaps", config_map(), 405, "MethodNotAllowed"),
        ("POST", "/api/v1/namespaces/default/configmaps/c", config_map(), 405, "MethodNotAllowed"),
        ("DELETE", "/apis/apps/v1/namespaces/default/deployments/d/status", None, 405, "MethodNotAllowed"),
        ("POST", "/api", {}, 405, "MethodNotAllowed"),
        ("POST", "/api/v1/namespaces/none/configmaps", config_map(), 404, "NotFound"),
        ("POST", "/api/v1/namespaces/default/configmaps", "{", 400, "BadRequest"),
        ("POST", "/api/v1/namespaces/default/configmaps", "[]", 400, "BadRequest"),
        ("POST", "/api/v1/namespaces/default/configmaps", deployment(), 400, "BadRequest"),
        ("PUT", "/api/v1/namespaces/default/configmaps/other", config_map(), 400, "BadRequest"),
    ],
)
def test_refusals_are_statuses(
    server: ApiServer, method: str, path: str, body: Any, code: int, reason: str
) -> None:
    reply = server.call(method, path, body)
    assert (reply.code, reply.body["kind"], reply.body["reason"]) == (code, "Status", reason)
    assert reply.body["code"] == code


def test_media_types_are_checked(server: ApiServer) -> None:
    path = MAPS.format("default")
    assert server.call("POST", path, "a=b", "application/x-www-form-urlencoded").code == 415
    assert server.call("GET", path, headers={"Accept": "text/html"}).code == 406
    assert server.call("GET", path, headers={"Accept": "text/html, application/json;q=0.5"}).code == 200


def test_a_body_may_be_yaml(server: ApiServer, namespace: str) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {at: 2026-01-01, on: 'yes'}\n"
    made = server.call("POST", MAPS.format(namespace), text, "application/yaml")
    assert made.code == 201
    assert made.body["data"] == {"at": "2026-01-01", "true": "yes"}


def test_a_body_too_large_is_refused(server: ApiServer, namespace: str) -> None:
    reply = server.call("POST", MAPS.format(namespace), config_map(a="x" * 4_000_000))
    assert reply.code == 413


def test_nonsense_never_breaks_the_server(server: ApiServer) -> None:
    path = MAPS.format("default")
    for body in ("null", '"text"', "7", '{"metadata": []}', '{"metadata": {"name": 7}}', "{" * 2000):
        assert 400 <= server.call("POST", path, body).code < 500, body
    for patch in ("null", "[7]", '{"metadata": 7}', '{"metadata": null}', '{"data": []}'):
        server.call("POST", path, config_map("nonsense"))
        reply = server.call("PATCH", f"{path}/nonsense", patch, MERGE_PATCH)
        assert 400 <= reply.code < 500, (patch, reply.body)
    for query in ("limit=x", "timeoutSeconds=x&watch=1", "fieldValidation=x", "labelSelector=%00"):
        assert server.call("GET", f"{path}?{query}").code < 500
    assert server.call("GET", "/healthz").code == 200


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", "/api/v1/configmaps", 405),
        ("DELETE", "/api/v1/configmaps", 405),
        ("GET", "/api/v1/configmaps", 200),
        ("GET", "/api/v1/configmaps/c", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/watch", 404),
        ("GET", "/apis/apps/v1/", 200),
        ("GET", "/api/v1/namespaces/default/configmaps/c/proxy", 404),
    ],
)
def test_paths_that_need_a_namespace(server: ApiServer, method: str, path: str, code: int) -> None:
    assert server.call(method, path, config_map() if method == "POST" else None).code == code
