"""Who may do what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.lab.apiserver_process import GATEWAY, ApiServer, config_map, route

RBAC = "/apis/rbac.authorization.k8s.io/v1"

CORE = "/api/v1/namespaces/default"

REVIEWS = "/apis/authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("access")) as running:
        running.ok("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": "rollouts"}})
        rules = [
            {
                "apiGroups": ["gateway.networking.k8s.io"],
                "resources": ["httproutes"],
                "verbs": ["get", "patch"],
            },
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]},
        ]
        running.ok("POST", f"{RBAC}/namespaces/default/roles", {"metadata": {"name": "r"}, "rules": rules})
        binding = {
            "metadata": {"name": "b"},
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "rollouts", "namespace": "default"}],
        }
        running.ok("POST", f"{RBAC}/namespaces/default/rolebindings", binding)
        running.ok("POST", f"{GATEWAY}/httproutes", route("r"))
        yield running


@pytest.fixture(scope="module")
def token(server: ApiServer) -> str:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = server.ok("POST", f"{CORE}/serviceaccounts/rollouts/token", request)
    return str(made["status"]["token"])


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", f"{GATEWAY}/httproutes/r", None, 200),
        ("GET", f"{GATEWAY}/httproutes", None, 403),
        ("GET", f"{GATEWAY}/httproutes?watch=1", None, 403),
        ("DELETE", f"{GATEWAY}/httproutes/r", None, 403),
        ("GET", f"{GATEWAY}/httproutes/r/status", None, 403),
        ("GET", f"{CORE}/configmaps/mine", None, 404),
        ("GET", f"{CORE}/configmaps/other", None, 403),
        ("GET", f"{CORE}/configmaps?fieldSelector=metadata.name%3Dmine", None, 200),
        ("GET", f"{CORE}/configmaps?fieldSelector=metadata.name%3Dother", None, 403),
        ("POST", f"{CORE}/configmaps", config_map("mine"), 403),
        ("GET", f"{CORE}/pods/p:80/proxy/", None, 404),
        ("GET", f"{CORE}/pods/p", None, 403),
        ("GET", "/api/v1/nodes", None, 403),
        ("GET", "/api/v1/namespaces/kube-system/configmaps/mine", None, 403),
        ("GET", "/apis", None, 200),
        ("GET", "/metrics", None, 403),
        ("GET", "/lab/faults", None, 403),
    ],
)
def test_a_service_account_may_do_what_its_role_says(
    server: ApiServer, token: str, method: str, path: str, body: Any, code: int
) -> None:
    assert server.call(method, path, body, token=token).code == code


def test_a_refusal_says_who_what_and_where(server: ApiServer, token: str) -> None:
    reply = server.call("DELETE", f"{GATEWAY}/httproutes/r", token=token)
    assert reply.body["message"] == (
        'httproutes.gateway.networking.k8s.io "r" is forbidden: '
        'User "system:serviceaccount:default:rollouts" '
        'cannot delete resource "httproutes" in API group "gateway.networking.k8s.io" '
        'in the namespace "default"'
    )


def test_creating_by_apply_takes_leave_to_create(server: ApiServer, token: str) -> None:
    path = f"{GATEWAY}/httproutes/fresh?fieldManager=x"
    reply = server.call("PATCH", path, route("fresh"), "application/apply-patch+yaml", token=token)
    assert reply.code == 403
    assert 'cannot create resource "httproutes"' in reply.body["message"]


def test_nobody_gets_in_without_a_token(server: ApiServer, token: str) -> None:
    assert server.call("GET", "/api/v1/nodes", token="").code == 403
    for wrong in ("nonsense", token[:-2] + "AA", "a.b.c"):
        assert server.call("GET", "/api/v1/nodes", token=wrong).code == 401


def test_a_token_dies_with_its_account(server: ApiServer) -> None:
    server.ok("POST", f"{CORE}/serviceaccounts", {"metadata": {"name": "brief"}})
    made = server.ok("POST", f"{CORE}/serviceaccounts/brief/token", {"spec": {}})
    token = made["status"]["token"]
    assert server.call("GET", "/apis", token=token).code == 200
    server.ok("DELETE", f"{CORE}/serviceaccounts/brief")
    assert server.call("GET", "/apis", token=token).code == 401


def test_reviews_tell_the_truth(server: ApiServer, token: str) -> None:
    def may(verb: str, resource: str, name: str = "") -> bool:
        group = "gateway.networking.k8s.io" if resource == "httproutes" else ""
        asked = {"verb": verb, "resource": resource, "group": group, "namespace": "default", "name": name}
        body = {"spec": {"resourceAttributes": asked}}
        reply = server.call("POST", f"{REVIEWS}/selfsubjectaccessreviews", body, token=token)
        assert reply.code == 201
        return bool(reply.body["status"]["allowed"])

    assert may("patch", "httproutes")
    assert not may("delete", "httproutes")
    assert may("update", "configmaps", "mine")
    assert not may("update", "configmaps", "other")
    rules = {"spec": {"namespace": "default"}}
    listed = server.call("POST", f"{REVIEWS}/selfsubjectrulesreviews", rules, token=token).body["status"]
    assert ["httproutes"] in [rule["resources"] for rule in listed["resourceRules"]]
    them = {
        "spec": {
            "user": "system:serviceaccount:default:rollouts",
            "resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"},
        }
    }
    assert not server.ok("POST", f"{REVIEWS}/subjectaccessreviews", them)["status"]["allowed"]
    who = {"spec": {"token": token}}
    status = server.ok("POST", "/apis/authentication.k8s.io/v1/tokenreviews", who)["status"]
    assert status["user"]["username"] == "system:serviceaccount:default:rollouts"


def test_roles_take_effect_at_once(server: ApiServer) -> None:
    with (server.directory / "tokens").open("a") as tokens:
        tokens.write('jane-token,jane,7,"dev"\n')
    assert server.call("GET", f"{CORE}/configmaps", token="jane-token").code == 403
    binding = {
        "metadata": {"name": "dev"},
        "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "Group", "name": "dev"}],
    }
    server.ok("POST", f"{RBAC}/namespaces/default/rolebindings", binding)
    assert server.call("GET", f"{CORE}/configmaps", token="jane-token").code == 200
    assert server.call("GET", f"{CORE}/secrets", token="jane-token").code == 403
    server.ok("DELETE", f"{RBAC}/namespaces/default/rolebindings/dev")
    assert server.call("GET", f"{CORE}/configmaps", token="jane-token").code == 403


def test_standing_in_for_others(server: ApiServer, token: str) -> None:
    as_account = {"Impersonate-User": "system:serviceaccount:default:rollouts"}
    assert server.call("GET", "/api/v1/nodes", headers=as_account).code == 403
    assert server.call("GET", f"{GATEWAY}/httproutes/r", headers=as_account).code == 200
    assert server.call("GET", "/apis", token=token, headers={"Impersonate-User": "admin"}).code == 403
