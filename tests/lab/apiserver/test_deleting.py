"""Objects that go: at once, held by finalizers, with their namespace or their kind."""

from __future__ import annotations

import pytest

from tests.support.lab.apiserver_process import MAPS, MERGE_PATCH, ApiServer, causes, config_map, until


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
    assert (reply.code, causes(reply.body)) == (422, 2 * ["metadata.finalizers"])
    assert reply.body["message"].count("no new finalizers") == 1
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


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"propagationPolicy": "Nonsense"}, ["propagationPolicy"]),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, ["propagationPolicy"]),
        ({"dryRun": ["Some"]}, ["dryRun"]),
    ],
)
def test_options_that_mean_nothing_delete_nothing(
    server: ApiServer, namespace: str, options: dict[str, object], fields: list[str]
) -> None:
    path = MAPS.format(namespace)
    server.ok("POST", path, config_map())
    for target in (f"{path}/c", path):
        reply = server.call("DELETE", target, options)
        assert (reply.code, causes(reply.body)) == (422, fields)
    assert server.call("DELETE", f"{path}/c?propagationPolicy=Nonsense").code == 422
    assert server.call("DELETE", f"{path}/c?gracePeriodSeconds=soon").code == 400
    server.ok("GET", f"{path}/c")


def test_orphaning_in_its_old_form(server: ApiServer, namespace: str) -> None:
    path = MAPS.format(namespace)
    server.ok("POST", path, config_map())
    marked = server.ok("DELETE", f"{path}/c?orphanDependents=true")
    assert marked["metadata"]["finalizers"] == ["orphan"]


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
    instance = {
        "apiVersion": "a.example/v1",
        "kind": "Thing",
        "metadata": {"name": "t"},
        "spec": {"n": 1, "x": 2},
    }
    assert server.ok("POST", things, instance)["spec"] == {"n": 1}
    assert server.ok("GET", "/apis/a.example/v1")["resources"][0]["name"] == "things"
    server.ok("DELETE", f"{definitions}/things.a.example")
    until(lambda: server.call("GET", f"{definitions}/things.a.example").code == 404)
    assert server.call("GET", things).code == 404
    server.ok("POST", definitions, definition)
    assert server.ok("GET", things)["items"] == []
