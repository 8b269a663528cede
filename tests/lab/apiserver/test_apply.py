"""Who owns which field: server-side apply, updates between applies, and kubectl's change of sides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.lab.apiserver_process import (
    APPLY_PATCH,
    GATEWAY,
    MERGE_PATCH,
    ApiServer,
    Reply,
    config_map,
    deployment,
    route,
)

MAPS = "/api/v1/namespaces/default/configmaps"
counter = iter(range(1000))


@pytest.fixture
def name() -> str:
    return f"o-{next(counter)}"


def apply(server: ApiServer, path: str, config: Any, manager: str, **query: str) -> Reply:
    text = "".join(f"&{key}={value}" for key, value in query.items())
    return server.call("PATCH", f"{path}?fieldManager={manager}{text}", config, APPLY_PATCH)


def owners(body: Any) -> dict[str, Any]:
    """fieldsV1 by manager, operation and subresource."""
    return {
        " ".join(filter(None, (entry["manager"], entry["operation"], entry.get("subresource")))): entry[
            "fieldsV1"
        ]
        for entry in body["metadata"]["managedFields"]
    }


def test_a_field_moves_to_who_changes_it(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    assert apply(server, path, config_map(name, a="1", b="2"), "one").code == 201
    changed = server.ok("PATCH", f"{path}?fieldManager=two", {"data": {"a": "9"}}, MERGE_PATCH)
    assert owners(changed) == {"one Apply": {"f:data": {"f:b": {}}}, "two Update": {"f:data": {"f:a": {}}}}
    refused = apply(server, path, config_map(name, a="1", b="2"), "one")
    assert refused.code == 409
    assert refused.body["details"]["causes"][0]["field"] == ".data.a"
    assert 'conflict with "two" using v1: .data.a' in refused.body["message"]
    taken = apply(server, path, config_map(name, a="1", b="2"), "one", force="true")
    assert owners(taken.body) == {"one Apply": {"f:data": {"f:a": {}, "f:b": {}}}}


def test_a_shared_field_stays_until_the_last_owner_leaves(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    apply(server, path, config_map(name, a="1"), "one")
    shared = apply(server, path, config_map(name, a="1"), "two")
    assert set(owners(shared.body)) == {"one Apply", "two Apply"}
    assert apply(server, path, config_map(name), "one").body["data"] == {"a": "1"}
    assert "data" not in apply(server, path, config_map(name), "two").body


def test_metadata_is_given_up_field_by_field(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    config = config_map(name, a="1")
    noted = {**config, "metadata": {"name": name, "labels": {"l": "1"}, "annotations": {"n": "1"}}}
    made = apply(server, path, noted, "one").body
    fewer = {**config, "metadata": {"name": name, "annotations": {"n": "1"}}}
    changed = apply(server, path, fewer, "one").body
    assert "labels" not in changed["metadata"]
    assert changed["metadata"]["annotations"] == {"n": "1"}
    bare = apply(server, path, config, "one").body
    assert "annotations" not in bare["metadata"]
    assert bare["metadata"]["uid"] == made["metadata"]["uid"]
    assert bare["data"] == {"a": "1"}


def test_an_apply_that_changes_nothing_writes_nothing(server: ApiServer, name: str) -> None:
    path = f"{GATEWAY}/httproutes/{name}"
    first = apply(server, path, route(name), "one").body
    assert apply(server, path, route(name), "one").body == first


def test_conflicts_name_every_manager(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    apply(server, path, config_map(name, a="1"), "one")
    apply(server, path, config_map(name, b="1"), "two")
    refused = apply(server, path, config_map(name, a="2", b="2"), "three")
    assert refused.body["message"] == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .data.a\nconflicts with "two":\n- .data.b'
    )


def test_items_of_a_keyed_list_have_owners_of_their_own(server: ApiServer, name: str) -> None:
    path = f"{GATEWAY}/gateways/{name}"

    def gateway(*ports: int) -> dict[str, Any]:
        listeners = [{"name": f"p{port}", "port": port, "protocol": "HTTP"} for port in ports]
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": name},
            "spec": {"gatewayClassName": "c", "listeners": listeners},
        }

    apply(server, path, gateway(80), "one")
    both = apply(server, path, gateway(81), "two").body
    assert [listener["port"] for listener in both["spec"]["listeners"]] == [80, 81]
    item: dict[str, Any] = {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}
    listeners = owners(both)["two Apply"]["f:spec"]["f:listeners"]
    assert listeners == {'k:{"name":"p81"}': item}
    gone = apply(server, path, {**gateway(81), "spec": {"gatewayClassName": "c"}}, "two")
    assert [listener["port"] for listener in gone.body["spec"]["listeners"]] == [80]
    twice = apply(server, path, gateway(82, 82), "three")
    assert twice.code == 500
    assert "duplicate entries for key" in twice.body["message"]


def test_an_atomic_list_has_one_owner(server: ApiServer, name: str) -> None:
    path = f"{GATEWAY}/httproutes/{name}"
    apply(server, path, route(name, 90, 10), "gitops")
    patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 50}]
    moved = server.ok("PATCH", f"{path}?fieldManager=rollouts", patch, "application/json-patch+json")
    assert owners(moved) == {
        "gitops Apply": {"f:spec": {"f:parentRefs": {}}},
        "rollouts Update": {"f:spec": {"f:rules": {}}},
    }
    refused = apply(server, path, route(name, 90, 10), "gitops")
    assert [cause["field"] for cause in refused.body["details"]["causes"]] == [".spec.rules"]


def test_what_no_schema_knows_is_refused(server: ApiServer, name: str) -> None:
    config = route(name)
    config["spec"]["surprise"] = 1
    reply = apply(server, f"{GATEWAY}/httproutes/{name}", config, "one")
    assert reply.code == 500
    assert reply.body["message"].endswith(".spec.surprise: field not declared in schema")


@pytest.mark.parametrize(
    ("config", "query", "code"),
    [
        (config_map("other"), {}, 400),
        ({**config_map("x"), "kind": "Secret"}, {}, 400),
        ("a: [", {}, 400),
        ({**config_map("x"), "metadata": {"name": "x", "managedFields": [{"manager": "m"}]}}, {}, 400),
        ({**config_map("x"), "metadata": {"name": "x", "uid": "u"}}, {}, 409),
    ],
)
def test_applies_that_make_no_sense(server: ApiServer, config: Any, query: dict[str, str], code: int) -> None:
    assert apply(server, f"{MAPS}/x", config, "one", **query).code == code


def test_a_stale_version_conflicts(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    made = apply(server, path, config_map(name, a="1"), "one").body
    apply(server, path, config_map(name, a="2"), "one")
    config = config_map(name, a="3")
    config["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert apply(server, path, config, "one").code == 409


def test_status_is_applied_apart(server: ApiServer, name: str) -> None:
    path = f"/apis/apps/v1/namespaces/default/deployments/{name}"
    apply(server, path, deployment(name), "one")
    status = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 9},
        "status": {"replicas": 2},
    }
    changed = apply(server, f"{path}/status", status, "controller").body
    assert changed["spec"]["replicas"] == 1
    assert owners(changed)["controller Apply status"] == {"f:status": {"f:replicas": {}}}
    ignored = apply(server, path, {**deployment(name), "status": {"replicas": 7}}, "one").body
    assert ignored["status"] == {"replicas": 2}


def test_owners_can_be_rewritten_but_not_lost(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    made = apply(server, path, config_map(name, a="1"), "one").body
    kept = server.ok("PUT", path, config_map(name, a="1"))
    assert owners(kept) == owners(made)
    reset = server.ok("PATCH", path, {"metadata": {"managedFields": [{}]}}, MERGE_PATCH)
    assert "managedFields" not in reset["metadata"]


def test_old_updaters_are_forgotten_together(server: ApiServer, name: str) -> None:
    server.ok("POST", MAPS, config_map(name, a="1"))
    for i in range(15):
        patch = {"data": {f"k{i}": "1"}}
        changed = server.ok("PATCH", f"{MAPS}/{name}?fieldManager=m{i}", patch, MERGE_PATCH)
    assert len(owners(changed)) <= 11
    assert "ancient-changes Update" in owners(changed)


def test_kubectl_changes_sides_without_force(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    config = config_map(name, a="1")
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(config)}
    made = {**config, "metadata": {"name": name, "annotations": last}}
    server.ok("POST", f"{MAPS}?fieldManager=kubectl-client-side-apply", made)
    assert apply(server, path, config_map(name, a="2"), "other").code == 409
    taken = apply(server, path, config_map(name, a="2"), "kubectl")
    assert taken.code == 200
    noted = taken.body["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert json.loads(noted)["data"] == {"a": "2"}
    server.ok("PATCH", f"{path}?fieldManager=hand", {"data": {"a": "3"}}, MERGE_PATCH)
    assert apply(server, path, config_map(name, a="4"), "kubectl").code == 409


def test_who_applies_after_a_reset_meets_whoever_was_before(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    apply(server, path, config_map(name, a="1", b="2"), "one")
    reset = server.ok("PATCH", path, {"metadata": {"managedFields": [{}]}}, MERGE_PATCH)
    assert "managedFields" not in reset["metadata"]
    changed = server.ok("PATCH", path, {"data": {"b": "3"}}, MERGE_PATCH)
    assert "managedFields" not in changed["metadata"]
    refused = apply(server, path, config_map(name, a="9"), "one")
    assert refused.code == 409
    assert 'conflict with "before-first-apply" using v1: .data.a' in refused.body["message"]
    taken = apply(server, path, config_map(name, a="9"), "one", force="true")
    assert taken.body["data"] == {"a": "9", "b": "3"}
    assert owners(taken.body) == {
        "before-first-apply Update": {"f:data": {".": {}, "f:b": {}}},
        "one Apply": {"f:data": {"f:a": {}}},
    }


def test_an_object_that_was_made_empty_is_tracked_from_its_first_apply(server: ApiServer, name: str) -> None:
    path = f"{MAPS}/{name}"
    made = server.ok("POST", MAPS, {"metadata": {"name": name}})
    assert "managedFields" not in made["metadata"]
    assert "managedFields" not in server.ok("PATCH", path, {"data": {"a": "1"}}, MERGE_PATCH)["metadata"]
    both = apply(server, path, config_map(name, a="1"), "one").body
    assert owners(both).keys() == {"before-first-apply Update", "one Apply"}
