"""Requests before they reach an object: paths, bodies, media types, refusals."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import yaml

from tests.support.lab.apiserver_process import (
    GATEWAY,
    MAPS,
    MERGE_PATCH,
    ApiServer,
    config_map,
    deployment,
    route,
)


def test_first_namespaces_are_there(server: ApiServer) -> None:
    names = {item["metadata"]["name"] for item in server.ok("GET", "/api/v1/namespaces")["items"]}
    assert {"default", "kube-system"} <= names


def test_health_and_version_need_no_token(server: ApiServer) -> None:
    for path in ("/healthz", "/readyz", "/livez", "/version"):
        assert server.call("GET", path, token="").code == 200
    assert server.call("GET", "/api", token="wrong").code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api"),
        ("GET", "/openapi/v3"),
        ("GET", "/readyz/ping"),
        ("GET", MAPS.format("default")),
        ("HEAD", MAPS.format("default")),
        ("PATCH", f"{MAPS.format('default')}/c"),
        ("GET", "/apis/no.such/v1/namespaces/default/things"),
    ],
)
def test_who_sends_no_token_is_anonymous(server: ApiServer, method: str, path: str) -> None:
    reply = server.call(method, path, token="")
    assert reply.code == 403
    if method != "HEAD":
        assert 'User "system:anonymous" cannot' in reply.body["message"]


def test_heads(server: ApiServer) -> None:
    for path, code in (
        (MAPS.format("default"), 405),
        ("/api", 405),
        ("/version", 405),
        (f"{GATEWAY}/httproutes", 200),
        (f"{GATEWAY}/httproutes/none", 404),
        ("/openapi/v3/apis/coordination.k8s.io/v1", 200),
        ("/healthz", 200),
    ):
        reply = server.call("HEAD", path)
        assert (reply.code, reply.body) == (code, ""), path


def test_documents_that_did_not_change_are_not_sent_again(server: ApiServer) -> None:
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for path, accept in (
        ("/openapi/v3/apis/coordination.k8s.io/v1", "application/json"),
        ("/apis", aggregated),
    ):
        first = server.call("GET", path, headers={"Accept": accept})
        tag = first.headers["etag"]
        again = server.call("GET", path, headers={"Accept": accept, "If-None-Match": tag})
        assert (again.code, again.body, again.headers["etag"]) == (304, "", tag)
        other = server.call("GET", path, headers={"Accept": accept, "If-None-Match": '"other"'})
        assert other.body == first.body
    assert "etag" not in server.call("GET", "/api/v1/namespaces/default").headers


def test_large_answers_are_compressed_for_who_takes_that(server: ApiServer, namespace: str) -> None:
    path = f"{MAPS.format(namespace)}/c"
    server.ok("POST", MAPS.format(namespace), config_map(a="x" * 200_000))
    assert "content-encoding" not in server.call("GET", path).headers
    connection = server.connect()
    headers = {"Authorization": f"Bearer {server.token}", "Accept-Encoding": "deflate, gzip;q=1.0"}
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    packed = answer.read()
    connection.close()
    assert answer.getheader("Content-Encoding") == "gzip"
    assert json.loads(gzip.decompress(packed))["data"] == {"a": "x" * 200_000}
    small = server.call("GET", "/api/v1/namespaces/default", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in small.headers


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


@pytest.mark.parametrize(
    ("accept", "built_in", "custom"),
    [
        ("application/json;q=0.1, application/yaml", "application/yaml", "application/yaml"),
        ("application/*", None, "application/json"),
        ("*/*", "application/json", "application/json"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io", None, None),
        ("application/vnd.kubernetes.protobuf, application/json", "application/json", "application/json"),
        ("application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf", None),
        ("application/cbor", None, None),
    ],
)
def test_forms_of_answers(
    server: ApiServer, namespace: str, accept: str, built_in: str | None, custom: str | None
) -> None:
    server.ok("POST", MAPS.format(namespace), config_map())
    routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
    server.ok("POST", routes, route())
    for path, form in ((f"{MAPS.format(namespace)}/c", built_in), (f"{routes}/r", custom)):
        connection = server.connect()
        connection.request("GET", path, headers={"Authorization": f"Bearer {server.token}", "Accept": accept})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        wanted = (200, form) if form else (406, "application/json")
        assert (answer.status, answer.getheader("Content-Type")) == wanted, path


def test_an_answer_in_yaml_says_what_it_says_in_json(server: ApiServer, namespace: str) -> None:
    path = f"{MAPS.format(namespace)}/c"
    server.ok("POST", MAPS.format(namespace), config_map(a="on", b="1", c="two\nlines"))
    text = server.call("GET", path, headers={"Accept": "application/yaml"}).body
    assert yaml.safe_load(text) == server.ok("GET", path)
    assert server.call("GET", f"{path}?watch=1", headers={"Accept": "application/yaml"}).code == 406


def test_a_body_may_be_yaml(server: ApiServer, namespace: str) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {at: 2026-01-01, on: 'yes'}\n"
    made = server.call("POST", MAPS.format(namespace), text, "application/yaml")
    assert made.code == 201
    assert made.body["data"] == {"at": "2026-01-01", "true": "yes"}


def test_a_body_may_have_three_megabytes(server: ApiServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "a", "image": "a", "args": ["x" * 3_100_000]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    assert server.call("POST", f"{path}?dryRun=All", pod).code == 201
    container["args"] = ["x" * 3_200_000]
    reply = server.call("POST", path, pod)
    assert (reply.code, reply.body["reason"]) == (413, "RequestEntityTooLarge")


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
