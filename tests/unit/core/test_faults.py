"""What an answer of the API server means, and which right a request needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_rollouts.core.faults import Meaning, field_owners, is_denied, meaning, right_to

ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/prod/httproutes"
ROUTE = f"{ROUTES}/llm"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def status(code: int, reason: str, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "details": details}


def conflict(*managers: str) -> dict[str, Any]:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{manager}" using apps/v1: .spec.replicas',
        }
        for manager in managers
    ]
    return status(409, "Conflict", causes=causes)


MISSHAPEN = {"message": "failed to create typed patch object (p/x; v1, Kind=X): .spec: expected list, got 1"}
GONE = status(404, "NotFound", name="llm", group="gateway.networking.k8s.io", kind="httproutes")


@pytest.mark.parametrize("code", [401, 403, 404, 408, 409, 410, 425, 429, 302, 500, 502, 503, 504, 599])
def test_what_may_pass_may_pass_whatever_is_asked(code: int) -> None:
    for method, path in (("GET", ROUTE), ("GET", ROUTES), ("POST", ROUTES), ("DELETE", ROUTE)):
        assert meaning(method, path, code, None) is Meaning.MAY_PASS
        assert meaning(method, path, code, {"message": "storage is (re)initializing"}) is Meaning.MAY_PASS


@pytest.mark.parametrize(
    ("method", "code", "body", "applies", "means"),
    [
        ("GET", 200, {}, False, Meaning.DONE),
        ("POST", 201, {}, False, Meaning.DONE),
        ("PATCH", 409, status(409, "Conflict"), False, Meaning.PATCH_REFUSED),
        ("PATCH", 422, status(422, "Invalid"), False, Meaning.PATCH_REFUSED),
        ("PATCH", 422, status(422, "Invalid"), True, Meaning.PATCH_REFUSED),
        ("PATCH", 409, conflict("helm"), True, Meaning.PATCH_REFUSED),
        ("PATCH", 409, status(409, "Conflict"), True, Meaning.MAY_PASS),
        ("PATCH", 409, None, True, Meaning.MAY_PASS),
        ("PATCH", 500, MISSHAPEN, True, Meaning.INVALID),
        ("PATCH", 500, status(500, "InternalError"), True, Meaning.MAY_PASS),
        ("PATCH", 500, MISSHAPEN, False, Meaning.MAY_PASS),
        ("PATCH", 400, status(400, "BadRequest"), False, Meaning.INVALID),
        ("POST", 422, status(422, "Invalid"), False, Meaning.INVALID),
        ("POST", 400, None, False, Meaning.INVALID),
        ("GET", 405, None, False, Meaning.INVALID),
        ("PATCH", 415, None, False, Meaning.INVALID),
        ("PATCH", 403, status(403, "Forbidden"), False, Meaning.MAY_PASS),
        ("PATCH", 401, None, False, Meaning.MAY_PASS),
    ],
)
def test_what_stays_is_told_from_what_may_pass(
    method: str, code: int, body: Any, applies: bool, means: Meaning
) -> None:
    assert meaning(method, ROUTE, code, body, applies=applies) is means


WEBHOOK = 'admission webhook "validate.kyverno.svc-fail" denied the request'
POLICY = "ValidatingAdmissionPolicy 'freeze' with binding 'prod' denied request: failed expression: false"


@pytest.mark.parametrize("code", [400, 403, 404, 409, 413, 422, 451])
@pytest.mark.parametrize(
    "words",
    [
        f"{WEBHOOK}: \n\npolicy HTTPRoute/prod/llm for resource violation",
        f"{WEBHOOK} without explanation",
        POLICY,
        f'httproutes.gateway.networking.k8s.io "llm" is forbidden: {POLICY}',
    ],
)
def test_a_denial_of_admission_may_pass_whatever_its_status(code: int, words: str) -> None:
    """A webhook that names no status, as Kyverno's, denies with 400; a policy denies with 422."""
    body = status(code, "Invalid") | {"message": words}
    for applies in (False, True):
        assert meaning("PATCH", ROUTE, code, body, applies=applies) is Meaning.MAY_PASS
    assert is_denied(body)
    assert not is_denied(body | {"message": f"spec.description: Invalid value: {WEBHOOK!r}"})


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_only_the_api_server_that_names_the_object_says_that_it_is_not_there(method: str) -> None:
    assert meaning(method, ROUTE, 404, GONE) is Meaning.MISSING
    for body in (
        None,
        "404 page not found",
        status(404, "NotFound"),
        status(404, "NotFound", name="prod", kind="namespaces"),
        {"reason": "NotFound", "details": None},
        GONE | {"reason": "Unknown"},
    ):
        assert meaning(method, ROUTE, 404, body) is Meaning.MAY_PASS
    assert meaning("GET", ROUTES, 404, GONE) is Meaning.MAY_PASS


def test_an_apply_says_whose_the_fields_are() -> None:
    assert field_owners(conflict("kubectl", "helm", "helm")) == {"kubectl", "helm"}
    assert field_owners(status(409, "Conflict")) == frozenset()


@pytest.mark.parametrize("manager", ["hpa", "inference-rollouts", 'a \\"b\\" c'])
def test_whose_a_field_is_does_not_depend_on_how_it_was_written(manager: str) -> None:
    words = f'conflict with "{manager}" with subresource "scale" using apps/v1 at 2026-11-28T07:00:00Z'
    cause = {"reason": "FieldManagerConflict", "message": words}
    assert field_owners(status(409, "Conflict", causes=[cause])) == {manager}


@settings(deadline=None)
@given(code=st.integers(100, 599), body=JSON, method=st.sampled_from(["GET", "PATCH"]), applies=st.booleans())
def test_every_answer_means_something(code: int, body: Any, method: str, applies: bool) -> None:
    assert meaning(method, ROUTE, code, body, applies=applies) in Meaning
    assert field_owners(body) == frozenset()


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("GET", ROUTE, "get httproutes.gateway.networking.k8s.io in namespace prod"),
        ("GET", ROUTES, "list httproutes.gateway.networking.k8s.io in namespace prod"),
        ("PATCH", ROUTE, "patch httproutes.gateway.networking.k8s.io in namespace prod"),
        ("POST", "/api/v1/namespaces/prod/events", "create events in namespace prod"),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/prod/deployments/llm",
            "delete deployments.apps in namespace prod",
        ),
        ("GET", "/api/v1/pods", "list pods in the whole cluster"),
        ("GET", "/api/v1/namespaces/prod", "get namespaces in the whole cluster"),
        ("GET", "/apis/apps/v1", "get /apis/apps/v1 in the whole cluster"),
    ],
)
def test_a_right_is_named_as_rbac_does(method: str, path: str, right: str) -> None:
    assert right_to(method, path) == right
