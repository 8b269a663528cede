"""Several rules, several routes, and other services on the stable pool, through the whole pipeline."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.errors import PatchRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.include import edit
from tests.support.plans import CANARY
from tests.support.routes import ref, route, service

MOVED = [ref("llm-pool", 0), ref(CANARY, 100)]


def refs(cluster: FakeCluster, name: str = "routes-to-llm") -> list[Any]:
    return [rule["backendRefs"] for rule in cluster.objects["HTTPRoute", name]["spec"]["rules"]]


def specs(cluster: FakeCluster) -> dict[Any, Any]:
    return {key: copy.deepcopy(obj["spec"]) for key, obj in cluster.objects.items() if key[0] == "HTTPRoute"}


def with_rules(cluster: FakeCluster, *rules: Any) -> dict[str, Any]:
    changed = copy.deepcopy(cluster.route)
    changed["spec"]["rules"] = route(*rules)["spec"]["rules"]
    return changed


def refs_in(spec: dict[str, Any]) -> list[Any]:
    return [rule["backendRefs"] for rule in spec["rules"]]


def test_two_rules_move_together(rollout: Rollout, cluster: FakeCluster) -> None:
    cluster.put(
        GATEWAY_API,
        "HTTPRoute",
        with_rules(cluster, [ref("llm-pool")], [service("web")], [ref("llm-pool", 3)]),
    )
    assert rollout().state == "success"
    assert refs(cluster) == [MOVED, [service("web")], MOVED]


def test_two_rules_come_back_together(
    rollout: Rollout, cluster: FakeCluster, prometheus: FakePrometheus
) -> None:
    cluster.put(GATEWAY_API, "HTTPRoute", with_rules(cluster, [ref("llm-pool")], [ref("llm-pool", 3)]))
    prometheus.failing[CANARY] = 0.05
    before = specs(cluster)
    run = rollout()
    assert run.states["rollback"] == "success"
    assert specs(cluster) == before


def test_two_routes_of_which_the_second_refuses_a_raise_end_as_found(
    rollout: Rollout, cluster: FakeCluster, include: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(include, routes="all")
    cluster.put_route("second", [ref("llm-pool", 5)])
    before, patch, refused = specs(cluster), cluster.patch, []

    def refusing(api: str, kind: str, name: str, ops: Any) -> K8sObject:
        raised = '"percent":100' in str(ops)
        if name == "second" and raised:
            refused.append(copy.deepcopy(cluster.route["spec"]))
            raise PatchRefused("admission webhook says no")
        return patch(api, kind, name, ops)

    monkeypatch.setattr(cluster, "patch", refusing)
    run = rollout()
    assert run.states["step_2.shift"] == "failed"
    assert run.states["rollback"] == "success"
    assert refs_in(refused[0]) == [MOVED], "the first had moved"
    assert specs(cluster) == before
    assert not any(cluster.notes("HTTPRoute", name) for name in cluster.names("HTTPRoute"))


def test_a_promotion_that_dies_between_two_routes_is_completed_and_told_so(
    rollout: Rollout, cluster: FakeCluster, include: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(include, routes="all")
    cluster.put_route("second", [ref("llm-pool", 5)])
    patch, died = cluster.patch, list[str]()

    def dying(api: str, kind: str, name: str, ops: Any) -> K8sObject:
        letting_go = any(op["op"] == "remove" for op in ops)
        if name == "second" and letting_go and not died:
            died.append(name)
            raise RuntimeError("the worker is gone")
        return patch(api, kind, name, ops)

    monkeypatch.setattr(cluster, "patch", dying)
    run = rollout()
    assert (run.states["promote"], run.states["rollback"]) == ("failed", "success")
    assert run.announced == [("promoted", "llm-pool")]
    assert "llm-pool-version-2: promoted" in run.note
    assert [refs(cluster), refs(cluster, "second")] == [[MOVED], [MOVED]]


@pytest.mark.parametrize("failing", [0.0, 0.05])
def test_a_pool_shared_with_another_service(
    rollout: Rollout, cluster: FakeCluster, include: Path, prometheus: FakePrometheus, failing: float
) -> None:
    """Half of all requests belong to a rule that stays: the canary can get 25 %, not 50 %."""
    prometheus.elsewhere["llm-pool"], prometheus.failing[CANARY] = 1.0, failing
    cluster.put_route("batch", [ref("llm-pool")])
    before = specs(cluster)
    run = rollout()
    assert refs(cluster, "batch") == [[ref("llm-pool")]]
    if failing:
        assert run.states["rollback"] == "success"
        assert specs(cluster) == before
    else:
        assert run.state == "success"
        assert refs(cluster) == [MOVED]


def test_a_claim_that_somebody_removed_is_told_so(
    rollout: Rollout, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = cluster.patch

    def letting_go(*args: Any) -> K8sObject:
        answer = patch(*args)
        if cluster.weights().get(CANARY) == 50:
            cluster.route["metadata"].pop("annotations", None)
        return answer

    monkeypatch.setattr(cluster, "patch", letting_go)
    run = rollout()
    assert run.states["rollback"] == "skipped"
    assert "llm-pool-version-2: let go" in run.note
    assert cluster.weights() == {"llm-pool": 50, CANARY: 50}
