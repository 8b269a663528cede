"""What is only seen in pods, or where they are missing: labels of their own, and who refused to make them."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.rollout.checks import placement, workloads
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.workloads import pods_of_workload
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import freeze
from tests.support.real_pool import CANARY, SIX_LINES, STABLE, real_pool, servers


def deployed(cluster: FakeCluster) -> Run:
    run = freeze(cluster, parse_plan({"name": "chat"} | SIX_LINES), servers=servers())
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    return run


def test_a_canary_whose_pods_another_pool_chooses_has_no_pods_before_one_is_asked() -> None:
    """A policy of the cluster may label pods, and stable's pool then sends requests there at once."""
    cluster = real_pool()
    run = deployed(cluster)
    assert workloads(run).phase is Phase.READY
    cluster.objects["InferencePool", STABLE]["spec"]["selector"]["matchLabels"] = {"team": "chat-team"}
    answer = workloads(run)
    assert answer.phase is Phase.FAILED
    assert "InferencePool chat selects its pods by team=chat-team, which the pods of" in answer.message
    assert answer.message.endswith("what the rollout made has no pods now")
    assert not cluster.pods_of(CANARY)
    assert cluster.pods_of(STABLE)
    assert "ScaledDown" in cluster.events


def test_a_workload_that_may_not_be_scaled_is_told_all_the_same(monkeypatch: Any) -> None:
    cluster = real_pool()
    run = deployed(cluster)
    cluster.objects["InferencePool", STABLE]["spec"]["selector"]["matchLabels"] = {"team": "chat-team"}

    def patch(*given: Any) -> Any:
        raise OSError("no")

    monkeypatch.setattr(cluster, "patch", patch)
    answer = workloads(run)
    assert answer.phase is Phase.FAILED
    assert answer.message.endswith("scale Deployment chat-v2 to 0, which could not be done")


def test_the_pods_of_a_workload_are_those_that_its_whole_selector_chooses() -> None:
    """By its labels alone one that has none, but expressions, would have all pods of its namespace."""
    cluster = real_pool()
    live = cluster.objects["Deployment", STABLE]
    live["spec"]["selector"] = {
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["vllm-llama"]}]
    }
    names = [each["metadata"]["name"] for each in pods_of_workload(cluster, live)]
    assert names == cluster.pods_of(STABLE)
    del live["spec"]["selector"]
    assert pods_of_workload(cluster, live) == []


def test_who_refuses_to_make_pods_is_named_by_all_that_wait_for_them() -> None:
    cluster = real_pool()
    run = deployed(cluster)
    live = cluster.objects["Deployment", CANARY]
    del cluster.objects["Pod", cluster.pods_of(CANARY)[0]]
    live["status"] |= {"availableReplicas": 1, "updatedReplicas": 1, "replicas": 1}
    assert placement(run).message == "1 of 2 pods have nodes"
    cluster.event(live, "FailedCreate", "exceeded quota: gpus", warning=True)
    assert placement(run).message == "1 of 2 pods have nodes: FailedCreate: exceeded quota: gpus"
    assert workloads(run).message.endswith(
        "1 of 2 pods of chat-v2 available: FailedCreate: exceeded quota: gpus"
    )
