"""Each kind of workload knows and counts its pods in its own way."""

from __future__ import annotations

import copy

import pytest

from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.workload_kinds import GROUPS_NAME, WORKER_INDEX
from tests.support.fake_cluster import POOL_API, FakeCluster
from tests.support.real_pool import CANARY, STABLE
from tests.support.stacks import (
    Change,
    equal_leaders_and_workers,
    leaders_and_workers,
    stack,
    stateful_set,
)
from tests.support.taking_over import frozen, made, put


def test_a_copy_of_a_leader_worker_set_is_known_by_its_own_name() -> None:
    """Also where the set is not called like its pool: its controller labels pods with the set's name."""
    name = f"big-model-{CANARY}"
    new = made(frozen(stack(equal_leaders_and_workers)))
    pool = new["InferencePool", CANARY]["spec"]["selector"]["matchLabels"]
    assert pool == {"app": CANARY, WORKER_INDEX: "0"}
    assert new["HorizontalPodAutoscaler", CANARY]["spec"]["scaleTargetRef"]["name"] == name
    templates = new["LeaderWorkerSet", name]["spec"]["leaderWorkerTemplate"]
    assert templates["workerTemplate"]["metadata"]["labels"]["app"] == CANARY
    assert GROUPS_NAME not in templates["workerTemplate"]["metadata"]["labels"], "its controller sets it"


def test_a_worker_that_only_joins_its_leader_keeps_its_arguments() -> None:
    work = {"like": "stable", "image": "vllm/vllm-openai:v0.32.0", "args": ["--max-num-seqs=128"]}
    new = made(frozen(stack(leaders_and_workers), workload=work))["LeaderWorkerSet", CANARY]
    leader, worker = (
        new["spec"]["leaderWorkerTemplate"][each]["spec"]["containers"][1]
        for each in ("leaderTemplate", "workerTemplate")
    )
    assert "--max-num-seqs=128" in leader["args"]
    assert worker["args"] == ["--address=$(LWS_LEADER_ADDRESS):6379", "--block"]
    assert leader["image"] == worker["image"] == work["image"]


def test_a_copy_of_a_stateful_set_has_its_own_service() -> None:
    new = made(frozen(stack(stateful_set)))
    assert new["StatefulSet", CANARY]["spec"]["serviceName"] == "chat-v2-headless"
    assert "progressDeadlineSeconds" not in new["StatefulSet", CANARY]["spec"]
    assert ("Service", "chat-v2-headless") in new


def _selecting_workers(cluster: FakeCluster) -> None:
    leaders_and_workers(cluster)
    pool = copy.deepcopy(cluster.objects["InferencePool", STABLE])
    pool["spec"]["selector"]["matchLabels"] = {"app": "vllm-llama"}
    cluster.put(POOL_API, "InferencePool", pool)


@pytest.mark.parametrize("change", [_selecting_workers])
def test_workers_are_no_endpoints(change: Change) -> None:
    with pytest.raises(ClusterRefused, match="selects the workers of LeaderWorkerSet chat too"):
        frozen(stack(change))


def test_what_a_leader_worker_set_made_is_not_taken_for_a_workload_of_its_own() -> None:
    cluster = stack(leaders_and_workers)
    owner = {"kind": "LeaderWorkerSet", "name": STABLE, "controller": True}
    template = cluster.objects["LeaderWorkerSet", STABLE]["spec"]["leaderWorkerTemplate"]["leaderTemplate"]
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "vllm-llama"}}, "template": template}
    put(cluster, "apps/v1", "StatefulSet", "made", spec, ownerReferences=[owner])
    assert [name for kind, name in made(frozen(cluster)) if kind == "StatefulSet"] == []


def test_devices_that_nobody_can_count_are_refused() -> None:
    cluster = stack(stateful_set)
    live = copy.deepcopy(cluster.objects["StatefulSet", STABLE])
    live["spec"]["template"]["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "g"}]
    cluster.put("apps/v1", "StatefulSet", live)
    with pytest.raises(ClusterRefused, match="Dynamic Resource Allocation"):
        frozen(cluster)
