"""Objects that are created: what the server sets, completes, refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lab.apiserver_process import MAPS, MERGE_PATCH, ApiServer, causes, config_map, deployment


def test_creation_sets_what_clients_cannot(server: ApiServer, namespace: str) -> None:
    sent = config_map(a="1")
    sent["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}
    made = server.ok("POST", MAPS.format(namespace), sent)["metadata"]
    assert made["uid"] != "mine"
    assert made["creationTimestamp"] > "2020"
    assert "generation" not in made
    assert made["managedFields"][0]["manager"] == "test"


def test_creation_refuses_a_version_and_another_namespace(server: ApiServer, namespace: str) -> None:
    versioned = config_map()
    versioned["metadata"]["resourceVersion"] = "5"
    assert server.call("POST", MAPS.format(namespace), versioned).code == 500
    elsewhere = config_map()
    elsewhere["metadata"]["namespace"] = "default"
    assert server.call("POST", MAPS.format(namespace), elsewhere).code == 400


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        ({"name": "Upper"}, ["metadata.name"]),
        ({}, ["metadata.name"]),
        ({"name": "c", "labels": {"a": "b c"}}, ["metadata.labels"]),
        ({"name": "c", "labels": {"a/b/c": "d"}}, ["metadata.labels"]),
        ({"name": "c", "annotations": {"-": "d"}}, ["metadata.annotations"]),
        ({"name": "c", "finalizers": ["a b"]}, ["metadata.finalizers", "metadata.finalizers[0]"]),
        ({"name": "c", "finalizers": ["bare"]}, ["metadata.finalizers[0]"]),
    ],
)
def test_metadata_is_checked(
    server: ApiServer, namespace: str, metadata: dict[str, Any], fields: list[str]
) -> None:
    reply = server.call("POST", MAPS.format(namespace), {**config_map(), "metadata": metadata})
    assert reply.code == 422
    assert causes(reply.body) == fields


def test_generated_names_differ(server: ApiServer, namespace: str) -> None:
    sent = {**config_map(), "metadata": {"generateName": "run-"}}
    names = {server.ok("POST", MAPS.format(namespace), sent)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(len(name) == 9 and name.startswith("run-") for name in names)


def test_a_dry_run_writes_nothing(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    made = server.call("POST", f"{path}?dryRun=All", config_map()).body
    assert "resourceVersion" not in made["metadata"]
    assert server.call("GET", f"{path}/c").code == 404
    server.ok("POST", path, config_map())
    changed = server.ok("PATCH", f"{path}/c?dryRun=All", {"data": {"a": "1"}}, MERGE_PATCH)
    assert changed["data"] == {"a": "1"}
    assert server.ok("DELETE", f"{path}/c?dryRun=All")["status"] == "Success"
    assert "data" not in server.ok("GET", f"{path}/c")
    assert server.call("POST", f"{path}?dryRun=Some", config_map("d")).code == 422


@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
def test_unknown_fields_by_validation_mode(server: ApiServer, namespace: str, mode: str) -> None:
    sent = deployment()
    sent["spec"]["template"]["spec"]["surprise"] = 1
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments?fieldValidation={mode}"
    reply = server.call("POST", path, sent)
    if mode == "Strict":
        assert reply.code == 400
        assert 'unknown field "spec.template.spec.surprise"' in reply.body["message"]
        return
    assert reply.code == 201
    assert "surprise" not in reply.body["spec"]["template"]["spec"]
    assert ("warning" in reply.headers) is (mode == "Warn")


def test_fields_named_twice_are_told(server: ApiServer, namespace: str) -> None:
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"1","b":"2","a":"3"}}'
    strict = server.call("POST", f"{MAPS.format(namespace)}?fieldValidation=Strict", text)
    assert strict.code == 400
    assert 'duplicate field "data.a"' in strict.body["message"]
    warned = server.call("POST", MAPS.format(namespace), text)
    assert warned.body["data"] == {"a": "3", "b": "2"}
    assert 'duplicate field \\"data.a\\"' in warned.headers["warning"]


def test_values_of_the_wrong_type(server: ApiServer, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    assert server.call("POST", path, deployment(replicas="two")).code == 400
    server.ok("POST", path, deployment())
    reply = server.call("PATCH", f"{path}/d", {"spec": {"replicas": "two"}}, MERGE_PATCH)
    assert (reply.code, causes(reply.body)) == (422, ["patch"])


def test_defaults_of_a_custom_resource(server: ApiServer, namespace: str) -> None:
    path = f"/apis/inference.networking.k8s.io/v1/namespaces/{namespace}/inferencepools"
    made = server.ok(
        "POST",
        path,
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": "p"},
            "spec": {
                "appProtocol": None,
                "selector": {"matchLabels": {"a": "b"}},
                "targetPorts": [{"number": 8000}],
                "endpointPickerRef": {"name": "e", "port": {"number": 9002}, "failureMode": None},
            },
        },
    )
    assert made["spec"]["appProtocol"] == "http"
    assert made["spec"]["endpointPickerRef"]["failureMode"] == "FailClose"
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "g"},
        "spec": {"gatewayClassName": "c", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]},
        "status": {"addresses": [{"value": "10.0.0.1"}]},
    }
    stored = server.ok("POST", f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/gateways", gateway)
    assert stored["spec"]["listeners"][0]["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    assert [c["reason"] for c in stored["status"]["conditions"]] == ["Pending", "Pending"]
    assert "addresses" not in stored["status"]


@pytest.mark.parametrize(
    "spec",
    [
        {"selector": None},
        {"selector": {"matchLabels": {"app": "other"}}},
        {"template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": []}}},
        {"template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "a"}]}}},
        {"replicas": -1},
        {"strategy": {"type": "Sideways"}},
        {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
        {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
    ],
)
def test_invalid_deployments(server: ApiServer, namespace: str, spec: dict[str, Any]) -> None:
    reply = server.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment(**spec))
    assert (reply.code, reply.body["reason"]) == (422, "Invalid")


def test_quantities_are_kept_in_their_one_form(server: ApiServer, namespace: str) -> None:
    sent = deployment()
    limits = {"cpu": 0.5, "memory": "1024Mi", "nvidia.com/gpu": 1}
    sent["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": limits}
    made = server.ok("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", sent)
    resources = made["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"] == {"cpu": "500m", "memory": "1Gi", "nvidia.com/gpu": "1"}
    assert "requests" not in resources, "of a template nothing is requested for its limits, of pods it is"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "limited"}}
    pod["spec"] = sent["spec"]["template"]["spec"]
    made = server.ok("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    resources = made["spec"]["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
