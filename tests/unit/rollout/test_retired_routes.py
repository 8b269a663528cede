"""Which routes a retirement looks at before it takes a pool away."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

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


def user(*errors: Exception | None, times: int = 1) -> list[str]:
    """What uses the pool, asked `times` times with clients of which only the cluster is asked."""
    clients: Any = SimpleNamespace(cluster=Routes(*errors))
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
