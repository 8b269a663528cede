"""Objects through the REST API: creating, reading, changing, deleting, watching."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab.apiserver_process import (
    GATEWAY,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    ApiServer,
    config_map,
    deployment,
    route,
    until,
)

MAPS = "/api/v1/namespaces/{}/configmaps"
counter = iter(range(1000))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def namespace(server: ApiServer) -> str:
    name = f"test-{next(counter)}"
    server.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


def causes(body: Any) -> list[str]:
    return sorted(cause["field"] for cause in body["details"]["causes"])


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
        ({"name": "c", "finalizers": ["a b"]}, ["metadata.finalizers[0]"]),
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
        ([{"op": "replace", "path": "/data/missing", "value": "2"}], 422),
        ([{"op": "add", "path": "/data/b", "value": "2"}], 200),
        ([{"op": "move", "from": "/data/a", "path": "/data/z"}], 200),
        ([{"op": "copy", "from": "/data/a", "path": "/data/z"}], 200),
        ([{"op": "replace", "path": "/metadata/name", "value": "other"}], 400),
        ([{"op": "dance", "path": "/data/a"}], 400),
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
    assert resources["requests"] == resources["limits"]


def test_preconditions_and_finalizers(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    held = config_map()
    held["metadata"]["finalizers"] = ["a.example/hold"]
    server.ok("POST", path, held)
    wrong = {"preconditions": {"uid": "other"}}
    assert server.call("DELETE", f"{path}/c", wrong).code == 409
    marked = server.ok("DELETE", f"{path}/c")
    assert marked["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["a.example/hold", "a.example/more"]}}
    reply = server.call("PATCH", f"{path}/c", more, MERGE_PATCH)
    assert (reply.code, causes(reply.body)) == (422, ["metadata.finalizers"])
    server.ok("PATCH", f"{path}/c", {"metadata": {"finalizers": None}}, MERGE_PATCH)
    assert server.call("GET", f"{path}/c").code == 404


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
def test_propagation_is_left_to_the_collector(
    server: ApiServer, namespace: str, policy: str, finalizer: str
) -> None:
    path = MAPS.format(namespace)
    server.ok("POST", path, config_map())
    marked = server.ok("DELETE", f"{path}/c", {"propagationPolicy": policy})
    assert marked["metadata"]["finalizers"] == [finalizer]
    assert server.ok("DELETE", f"{path}/c?propagationPolicy=Background")["status"] == "Success"


def test_a_pod_on_a_node_goes_gracefully(server: ApiServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "a", "image": "a:1"}
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [container]}}
    server.ok("POST", path, pod)
    marked = server.ok("DELETE", f"{path}/p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 30
    assert marked["metadata"]["deletionTimestamp"] > marked["metadata"]["creationTimestamp"]
    assert server.ok("GET", f"{path}/p")["metadata"]["uid"] == marked["metadata"]["uid"]
    server.ok("DELETE", f"{path}/p", {"gracePeriodSeconds": 0})
    assert server.call("GET", f"{path}/p").code == 404
    waiting = {"metadata": {"name": "q"}, "spec": {"containers": [container]}}
    server.ok("POST", path, waiting)
    server.ok("DELETE", f"{path}/q")
    assert server.call("GET", f"{path}/q").code == 404


def test_binding_and_evicting_a_pod(server: ApiServer, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    server.ok(
        "POST", path, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    )
    server.ok("POST", f"{path}/p/binding", {"target": {"kind": "Node", "name": "n"}})
    bound = server.ok("GET", f"{path}/p")
    assert bound["spec"]["nodeName"] == "n"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    assert server.call("POST", f"{path}/p/binding", {"target": {"name": "m"}}).code == 409
    assert server.call("POST", f"{path}/p/eviction", {"metadata": {"name": "p"}}).code == 201
    assert server.ok("GET", f"{path}/p")["metadata"]["deletionTimestamp"]


def test_a_namespace_goes_with_its_content(server: ApiServer, namespace: str) -> None:
    server.ok("POST", MAPS.format(namespace), config_map())
    assert server.ok("DELETE", f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Terminating"
    assert server.call("POST", MAPS.format(namespace), config_map("late")).code == 403
    until(lambda: server.call("GET", f"/api/v1/namespaces/{namespace}").code == 404)
    assert server.call("GET", f"{MAPS.format(namespace)}/c").code == 404
    assert server.call("DELETE", "/api/v1/namespaces/default").code == 403


def test_a_kind_goes_with_its_objects(server: ApiServer) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    things = "/apis/a.example/v1/namespaces/default/things"
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.a.example"},
        "spec": {
            "group": "a.example",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
    assert server.call("GET", things).code == 404
    wrong = {**definition, "metadata": {"name": "others.a.example"}}
    assert server.call("POST", definitions, wrong).code == 422
    made = server.ok("POST", definitions, definition)
    assert {c["type"] for c in made["status"]["conditions"]} == {"Established", "NamesAccepted"}
    thing = {
        "apiVersion": "a.example/v1",
        "kind": "Thing",
        "metadata": {"name": "t"},
        "spec": {"n": 1, "x": 2},
    }
    assert server.ok("POST", things, thing)["spec"] == {"n": 1}
    assert server.ok("GET", "/apis/a.example/v1")["resources"][0]["name"] == "things"
    server.ok("DELETE", f"{definitions}/things.a.example")
    until(lambda: server.call("GET", f"{definitions}/things.a.example").code == 404)
    assert server.call("GET", things).code == 404
    server.ok("POST", definitions, definition)
    assert server.ok("GET", things)["items"] == []


def test_events_are_seen_in_both_groups(server: ApiServer, namespace: str) -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "HTTPRoute", "name": "r", "namespace": namespace},
        "reason": "WeightShifted",
        "message": "llm 90",
        "type": "Normal",
    }
    server.ok("POST", f"/api/v1/namespaces/{namespace}/events", event)
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    seen = server.ok("GET", f"{path}/e")
    assert (seen["note"], seen["regarding"]["name"]) == ("llm 90", "r")
    newer = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "f"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "a.example/b",
        "reportingInstance": "one",
        "action": "Shift",
        "reason": "R",
        "type": "Normal",
        "note": "n",
        "regarding": {"kind": "Pod", "name": "p", "namespace": namespace},
    }
    server.ok("POST", path, newer)
    core = server.ok("GET", f"/api/v1/namespaces/{namespace}/events/f")
    assert (core["message"], core["involvedObject"]["name"]) == ("n", "p")
    selected = f"/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3Dr"
    assert [item["metadata"]["name"] for item in server.ok("GET", selected)["items"]] == ["e"]


def test_lists_page_and_select(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    for i in range(5):
        server.ok(
            "POST", path, {**config_map(), "metadata": {"name": f"c{i}", "labels": {"odd": str(i % 2)}}}
        )
    first = server.ok("GET", f"{path}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 3
    server.ok("DELETE", f"{path}/c2")
    rest = server.ok("GET", f"{path}?limit=9&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c3", "c4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    odd = server.ok("GET", f"{path}?labelSelector=odd%3D1")["items"]
    assert [item["metadata"]["name"] for item in odd] == ["c1", "c3"]
    assert server.call("GET", f"{path}?labelSelector=a%20b").code == 400
    assert server.call("GET", f"{path}?fieldSelector=data.a%3D1").code == 400
    assert server.call("GET", f"{path}?continue=nonsense").code == 400
    assert server.call("GET", f"{path}?resourceVersion=999999").code == 504
    assert server.call("GET", f"{path}?resourceVersion=words").code == 400
    server.ok("DELETE", f"{path}?labelSelector=odd%3D1")
    assert len(server.ok("GET", path)["items"]) == 2


def test_watches(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    version = server.ok("GET", path)["metadata"]["resourceVersion"]
    server.ok("POST", path, config_map("a"))
    server.ok("PATCH", f"{path}/a", {"metadata": {"labels": {"x": "1"}}}, MERGE_PATCH)
    server.ok("PATCH", f"{path}/a", {"metadata": {"labels": {"x": "2"}}}, MERGE_PATCH)
    server.ok("DELETE", f"{path}/a")

    def seen(query: str) -> list[str]:
        return [event["type"] for event in server.watch(f"{path}?{query}", 1)]

    assert seen(f"resourceVersion={version}") == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert seen(f"resourceVersion={version}&labelSelector=x%3D1") == ["ADDED", "DELETED"]
    assert seen("") == []
    assert [e["object"]["code"] for e in server.watch(f"{path}?resourceVersion=1", 1)] == [410]


def test_a_watch_is_live_and_bookmarked(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    later = threading.Timer(0.3, lambda: server.ok("POST", path, config_map("live")))
    later.start()
    events = server.watch(f"{path}?allowWatchBookmarks=true", 3)
    later.join()
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) >= int(
        events[0]["object"]["metadata"]["resourceVersion"]
    )
    initial = server.watch(
        f"{path}?sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan", 1
    )
    assert [event["type"] for event in initial] == ["ADDED", "BOOKMARK"]
    assert initial[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_tables_and_metadata_only(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    server.ok("POST", path, config_map(a="1"))
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = server.call("GET", path, headers=accept).body
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"][:2] == ["c", 1]
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    partial = server.call("GET", path, headers=accept).body
    assert partial["kind"] == "PartialObjectMetadataList"
    assert partial["items"][0].keys() == {"kind", "apiVersion", "metadata"}


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
