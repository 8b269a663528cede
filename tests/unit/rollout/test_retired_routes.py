"""Which routes a retirement looks at before it takes a pool away."""

from pathlib import Path

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


def route(namespace):
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

    def __init__(self, *errors):
        self.errors = list(errors)

    def select_everywhere(self, api_version, kind):
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return [route("elsewhere")]

    def select(self, api_version, kind):
        return []


class Only:
    """Clients of which only the cluster is asked."""

    def __init__(self, cluster):
        self.cluster = cluster


def user(*errors, times=1):
    plan = parse_plan(yaml.safe_load((ROOT / "include/rollouts/llm.yaml").read_text()))
    retirement = Retirement(plan, "old", Action.REMOVE)
    subject = PoolSubject(Only(Routes(*errors)), plan.as_pool_plan, retirement)
    return [subject.user() for _ in range(times)]


def test_a_route_of_any_namespace_uses_the_pool():
    assert user() == ["HTTPRoute r gives old weight 1"]


def test_where_only_the_own_namespace_may_be_read_it_alone_counts():
    assert user(FORBIDDEN, FORBIDDEN, times=2) == ["", ""]


def test_what_was_allowed_before_is_not_forbidden_but_an_accident():
    with pytest.raises(Forbidden):
        user(None, FORBIDDEN, times=2)


def test_a_cluster_that_does_not_answer_hides_no_user():
    with pytest.raises(ClusterUnavailable):
        user(DOWN)
