"""Objects that are changed: patches, replacement, status, generations."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lab.apiserver_process import (
    GATEWAY,
    JSON_PATCH,
    MAPS,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    ApiServer,
    causes,
    config_map,
    deployment,
    route,
)


def test_two_versions_of_a_kind_show_the_same_objects(server: ApiServer) -> None:
    server.ok("POST", f"{GATEWAY}/httproutes", route("twice"))
    older = f"{GATEWAY.replace('v1/', 'v1beta1/')}/httproutes"
    seen = server.ok("GET", f"{older}/twice")
    assert seen["apiVersion"] == "gateway.networking.k8s.io/v1beta1"
    changed = server.ok("PATCH", f"{older}/twice", {"spec": {"hostnames": ["a.example"]}}, MERGE_PATCH)
    assert changed["apiVersion"] == "gateway.networking.k8s.io/v1beta1"
    assert server.ok("GET", f"{GATEWAY}/httproutes/twice")["spec"]["hostnames"] == ["a.example"]


def test_an_unchanged_error_is_forgiven_and_a_transition_rule_holds(server: ApiServer) -> None:
    classes = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"
    made = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "k"},
        "spec": {"controllerName": "example.com/gw"},
    }
    server.ok("POST", classes, made)
    patch = {"spec": {"controllerName": "example.com/other"}}
    reply = server.call("PATCH", f"{classes}/k", patch, MERGE_PATCH)
    assert (reply.code, causes(reply.body)) == (422, ["spec.controllerName"])


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ([{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"}], 200),
        ([{"op": "test", "path": "/data/a", "value": "2"}, {"op": "remove", "path": "/data/a"}], 422),
        ([{"op": "replace", "path": "/data/missing", "value": "2"}], 200),
        ([{"op": "replace", "path": "/missing/a", "value": "2"}], 422),
        ([{"op": "add", "path": "/data/b", "value": "2"}], 200),
        ([{"op": "move", "from": "/data/a", "path": "/data/z"}], 200),
        ([{"op": "copy", "from": "/data/a", "path": "/data/z"}], 200),
        ([{"op": "replace", "path": "/metadata/name", "value": "other"}], 400),
        ([{"op": "dance", "path": "/data/a"}], 422),
        ([{"op": "add", "path": 7, "value": 1}], 400),
        ([{"op": "replace", "path": "", "value": {}}], 400),
        ([{"op": "replace", "path": "", "value": []}], 422),
        ({"data": {}}, 400),
    ],
)
def test_json_patches(server: ApiServer, namespace: str, operations: Any, code: int) -> None:
    path = MAPS.format(namespace)
    before = server.ok("POST", path, config_map(a="1"))
    reply = server.call("PATCH", f"{path}/c", operations, JSON_PATCH)
    assert reply.code == code, reply.body
    if code != 200:
        assert server.ok("GET", f"{path}/c") == before


@pytest.mark.parametrize("change", [{"kind": "Secret"}, {"apiVersion": "v2"}])
def test_no_patch_changes_the_kind_of_a_built_in_object(
    server: ApiServer, namespace: str, change: dict[str, Any]
) -> None:
    path = MAPS.format(namespace)
    before = server.ok("POST", path, config_map(a="1"))
    reply = server.call("PATCH", f"{path}/c", {**change, "data": {"a": "2"}}, MERGE_PATCH)
    assert (reply.code, causes(reply.body)) == (422, ["patch"])
    assert server.ok("GET", f"{path}/c") == before


@pytest.mark.parametrize(
    ("change", "field"),
    [({"kind": "GRPCRoute"}, "kind"), ({"kind": None}, "patch"), ({"apiVersion": "a.example/v1"}, "patch")],
)
def test_no_patch_changes_the_kind_of_a_custom_object(
    server: ApiServer, namespace: str, change: dict[str, Any], field: str
) -> None:
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
    server.ok("POST", path, route())
    reply = server.call("PATCH", f"{path}/r", change, MERGE_PATCH)
    assert (reply.code, causes(reply.body)) == (422, [field])


def test_a_strategic_patch_says_which_item_it_is_about(server: ApiServer, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    server.ok("POST", path, deployment())
    patch = {"spec": {"template": {"spec": {"containers": [{"image": "noname"}]}}}}
    reply = server.call("PATCH", f"{path}/d", patch, STRATEGIC_PATCH)
    assert reply.code == 500
    assert reply.body["message"] == "map: map[image:noname] does not contain declared merge key: name"


def test_scaling_to_zero_leaves_the_replicas_to_nobody(server: ApiServer, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    server.ok("POST", path, deployment(replicas=2))

    def owners(replicas: int) -> list[str]:
        server.ok("PATCH", f"{path}/d/scale", {"spec": {"replicas": replicas}}, MERGE_PATCH)
        entries = server.ok("GET", f"{path}/d")["metadata"]["managedFields"]
        owning = [entry for entry in entries if "f:replicas" in entry["fieldsV1"].get("f:spec", {})]
        return [entry.get("subresource", "") for entry in owning]

    assert owners(3) == ["scale"]
    assert owners(0) == []
    assert owners(1) == ["scale"]


def test_metadata_that_no_update_changes(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    made = server.ok("POST", path, config_map())
    patch = {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}}
    assert server.ok("PATCH", f"{path}/c", patch, MERGE_PATCH) == made
    assert server.call("PATCH", f"{path}/c", {"metadata": {"uid": "x"}}, MERGE_PATCH).code == 422
    assert server.call("PATCH", f"{path}/c", {"metadata": {"namespace": "x"}}, MERGE_PATCH).code == 400
    assert server.call("PUT", f"{path}/c", {**made, "metadata": {"name": "c", "uid": "x"}}).code == 409


def test_replacing(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    assert server.call("PUT", f"{path}/c", config_map()).code == 404
    made = server.ok("POST", path, config_map(a="1"))
    replaced = server.ok("PUT", f"{path}/c", config_map(b="2"))
    assert replaced["data"] == {"b": "2"}
    assert server.call("PUT", f"{path}/c", made).code == 409
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/l"
    assert server.call("PUT", leases, lease).code == 201
    assert server.call("PUT", leases, lease).code == 422


def test_generation_grows_with_the_spec_only(server: ApiServer, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    server.ok("POST", path, deployment())

    def generation(patch: Any, suffix: str = "") -> int:
        changed = server.ok("PATCH", f"{path}/d{suffix}", patch, MERGE_PATCH)
        return int(changed["metadata"]["generation"])

    assert generation({"metadata": {"labels": {"a": "b"}}}) == 1
    assert generation({"status": {"replicas": 3}}, "/status") == 1
    assert generation({"spec": {"replicas": 3}}) == 2
    assert generation({"spec": {"replicas": 3}}) == 2
    assert generation({"status": {"replicas": 9}}) == 2
    assert server.ok("GET", f"{path}/d")["status"] == {"replicas": 3}
    assert generation({"metadata": {"annotations": {"a": "b"}}}) == 3  # only Deployments count these


def test_status_of_a_custom_resource_is_its_own(server: ApiServer) -> None:
    server.ok("POST", f"{GATEWAY}/httproutes", route("own"))
    condition = {
        "type": "Accepted",
        "status": "True",
        "reason": "Accepted",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    parent = {"parentRef": {"name": "g"}, "controllerName": "a.example/b", "conditions": [condition]}
    patch = {"metadata": {"labels": {"no": "no"}}, "spec": {"rules": None}, "status": {"parents": [parent]}}
    changed = server.ok("PATCH", f"{GATEWAY}/httproutes/own/status", patch, MERGE_PATCH)
    assert "labels" not in changed["metadata"]
    assert changed["spec"]["rules"]
    assert changed["status"]["parents"][0]["parentRef"]["kind"] == "Gateway"
    bad = {"status": {"parents": [{**parent, "controllerName": "none"}]}}
    reply = server.call("PATCH", f"{GATEWAY}/httproutes/own/status", bad, MERGE_PATCH)
    assert (reply.code, causes(reply.body)) == (422, ["status.parents[0].controllerName"])


def test_strategic_merge(server: ApiServer, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    server.ok("POST", path, deployment())

    def containers(patch: Any) -> Any:
        body = {"spec": {"template": {"spec": {"containers": patch}}}}
        changed = server.ok("PATCH", f"{path}/d", body, STRATEGIC_PATCH)
        return [(c["name"], c["image"]) for c in changed["spec"]["template"]["spec"]["containers"]]

    assert containers([{"name": "side", "image": "s:1"}]) == [("vllm", "vllm:1"), ("side", "s:1")]
    assert containers([{"name": "vllm", "image": "vllm:2"}]) == [("vllm", "vllm:2"), ("side", "s:1")]
    assert containers([{"name": "side", "$patch": "delete"}]) == [("vllm", "vllm:2")]
    recreate = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    changed = server.ok("PATCH", f"{path}/d", recreate, STRATEGIC_PATCH)
    assert changed["spec"]["strategy"] == {"type": "Recreate"}
