"""Which routes a retirement looks at before it takes a pool away."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from inference_rollouts.clients.discovery import Extensions
from inference_rollouts.core.errors import ClusterUnavailable, Forbidden
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.rollout.retirement import PoolSubject

ROOT = Path(__file__).parents[3]
PATH = "/apis/gateway.networking.k8s.io/v1/httproutes"
FORBIDDEN = Forbidden("GET", PATH, 403, "may not list")
DOWN = ClusterUnavailable("GET", PATH, 503, "starting")


def route(namespace: str) -> dict[str, Any]:
    ref = {
        "group": "inference.networking.k8s.io",
        "kind": "InferencePool",
        "name": "old",
        "namespace": "default",
    }
    rules = [{"backendRefs": [ref]}]
    return {"kind": "HTTPRoute", "metadata": {"name": "r", "namespace": namespace}, "spec": {"rules": rules}}


class Routes:
    """A cluster with a route to the pool in another namespace; `errors` come of reading them all."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)

    def select_everywhere(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return [route("elsewhere")]

    def select(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        return []

    def extensions(self) -> Extensions:
        return Extensions(())


class OtherRoutes(Routes):
    """A cluster in which no HTTPRoute names the pool, and a route of another kind does."""

    def __init__(self, kind: str, spec: dict[str, Any], error: Exception | None = None) -> None:
        super().__init__()
        self.kind, self.spec, self.error = kind, spec, error

    def select_everywhere(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        return []

    def select(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        if self.error:
            raise self.error
        return [{"kind": kind, "metadata": {"name": "r", "namespace": "default"}, "spec": self.spec}]

    def extensions(self) -> Extensions:
        return Extensions((("a.example/v1", self.kind), ("gateway.networking.k8s.io/v1", "Gateway")))


def user(*errors: Exception | None, times: int = 1) -> list[str]:
    """What uses the pool, asked `times` times with clients of which only the cluster is asked."""
    return users_in(Routes(*errors), times)


def users_in(cluster: Routes, times: int = 1) -> list[str]:
    clients: Any = SimpleNamespace(cluster=cluster)
    plan = parse_plan(yaml.safe_load((ROOT / "include/rollouts/llm.yaml").read_text()))
    retirement = Retirement(plan, "old", Action.REMOVE)
    subject = PoolSubject(clients, plan.as_pool_plan, retirement)
    return [subject.user() for _ in range(times)]


def test_a_route_of_any_namespace_uses_the_pool() -> None:
    assert user() == ["HTTPRoute r gives old weight 1"]


def test_where_only_the_own_namespace_may_be_read_it_alone_counts() -> None:
    assert user(FORBIDDEN, FORBIDDEN, times=2) == ["", ""]


def test_what_was_allowed_before_is_not_forbidden_but_an_accident() -> None:
    with pytest.raises(Forbidden):
        user(None, FORBIDDEN, times=2)


def test_a_cluster_that_does_not_answer_hides_no_user() -> None:
    with pytest.raises(ClusterUnavailable):
        user(DOWN)


NAMING = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "old"}


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("GRPCRoute", {"rules": [{"backendRefs": [NAMING]}]}),
        ("GRPCRoute", {"rules": [{"backendRefs": [NAMING | {"weight": 0, "namespace": "default"}]}]}),
        (
            "GRPCRoute",
            {"rules": [{"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": NAMING}}]}]},
        ),
        ("AIGatewayRoute", {"rules": [{"backendRefs": [NAMING]}]}),
        ("TLSRoute", {"rules": [{"backendRefs": [NAMING | {"group": "inference.networking.x-k8s.io"}]}]}),
    ],
)
def test_a_pool_that_a_route_of_another_kind_names_stays(kind: str, spec: dict[str, Any]) -> None:
    [why] = users_in(OtherRoutes(kind, spec))
    assert why == f"{kind} r names old, and only people can take it out there"


@pytest.mark.parametrize(
    "spec",
    [
        {"rules": [{"backendRefs": [NAMING | {"name": "older"}]}]},
        {"rules": [{"backendRefs": [NAMING | {"namespace": "elsewhere"}]}]},
        {"rules": [{"backendRefs": [{"kind": "Service", "name": "old", "group": ""}]}]},
        {},
    ],
)
def test_what_means_something_else_does_not_keep_a_pool(spec: dict[str, Any]) -> None:
    assert users_in(OtherRoutes("GRPCRoute", spec)) == [""]


def test_that_other_routes_may_not_be_read_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert users_in(OtherRoutes("GRPCRoute", {}, FORBIDDEN)) == [""]
    assert "whether a GRPCRoute names a pool is not known" in caplog.text
    with pytest.raises(ClusterUnavailable):
        users_in(OtherRoutes("GRPCRoute", {}, DOWN))
