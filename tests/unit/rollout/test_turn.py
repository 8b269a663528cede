"""Turns at accelerators: of two rollouts that want the same ones, one places its pods after the other."""

from __future__ import annotations

import pytest

from inference_rollouts.core.nodes.turn import WITHOUT_PODS, lease_of
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.rollout.nodes import provisioner_of
from inference_rollouts.rollout.turn import take_turn
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster, deployment
from tests.support.plans import llm_plan

A, B = llm_plan(name="a", canary="pool-a"), llm_plan(name="b", canary="pool-b")
OTHER = llm_plan(
    name="c",
    canary="pool-c",
    nodes={"provisioner": "existing", "selector": {"cloud.google.com/gke-accelerator": "nvidia-l4"}},
)


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster()
    made.clock = lambda: 1000.0
    return made


def turn(cluster: FakeCluster, plan: PoolPlan, at: float | None = None) -> Phase:
    if at is not None:
        cluster.clock = lambda: at
    return take_turn(cluster, plan, plan.canary, plan.workload.replicas).phase


def test_one_has_its_turn_and_the_other_waits(cluster: FakeCluster) -> None:
    assert turn(cluster, A) is Phase.READY
    assert turn(cluster, A) is Phase.READY, "a task that is repeated keeps it"
    waits = take_turn(cluster, B, B.canary, B.workload.replicas)
    assert waits.phase is Phase.WAITING
    assert "plan a places pool pool-a" in waits.message


def test_the_next_one_begins_when_all_pods_have_their_nodes(cluster: FakeCluster) -> None:
    turn(cluster, A)
    cluster.put("apps/v1", "Deployment", deployment("pool-a", A.workload.replicas - 1))
    assert turn(cluster, B, 1000.0 + 2 * WITHOUT_PODS) is Phase.WAITING
    cluster.put("apps/v1", "Deployment", deployment("pool-a", A.workload.replicas))
    assert turn(cluster, B) is Phase.READY
    assert turn(cluster, A) is Phase.WAITING


def test_a_turn_without_pods_ends_soon_and_any_by_its_deadline(cluster: FakeCluster) -> None:
    turn(cluster, A)
    assert turn(cluster, B, 1000.0 + WITHOUT_PODS) is Phase.WAITING
    assert turn(cluster, B, 1001.0 + WITHOUT_PODS) is Phase.READY
    cluster.put("apps/v1", "Deployment", deployment("pool-b", 1))
    late = cluster.time() + B.deadlines.ready
    assert turn(cluster, A, late) is Phase.WAITING
    assert turn(cluster, A, late + 1) is Phase.READY


def test_who_wants_others_waits_for_nobody(cluster: FakeCluster) -> None:
    turn(cluster, A)
    assert turn(cluster, OTHER) is Phase.READY


def test_of_two_at_the_same_moment_one_is_refused(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = cluster.patch

    def raced(*args: object) -> K8sObject:
        monkeypatch.setattr(cluster, "patch", patch)
        assert turn(cluster, B) is Phase.READY
        return patch(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cluster, "patch", raced)
    assert turn(cluster, A) is Phase.WAITING


def test_a_lease_that_somebody_edited_is_nobodys(cluster: FakeCluster) -> None:
    turn(cluster, A)
    name = lease_of("nvidia.com/gpu", A.nodes.selector_for("pool-a"))
    cluster.objects["Lease", name]["spec"]["holderIdentity"] = "kim"
    assert turn(cluster, B) is Phase.READY


def test_nodes_are_ready_for_one_at_a_time(cluster: FakeCluster) -> None:
    def ready(plan: PoolPlan) -> Phase:
        return provisioner_of(fake_clients(cluster), plan, plan.canary, "r").readiness().phase

    assert ready(A) is Phase.READY
    assert ready(B) is Phase.WAITING
