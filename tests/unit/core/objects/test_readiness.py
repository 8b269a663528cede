from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.objects.readiness import (
    Phase,
    Readiness,
    Replicas,
    nodes_readiness,
    pool_readiness,
    ready_pods,
    restarts,
    route_readiness,
    worst,
)
from inference_rollouts.core.objects.workloads import workload_readiness

GPU = "nvidia.com/gpu"
STEP = datetime(2026, 10, 1, 12, 0, 0, tzinfo=UTC).timestamp()
BEFORE, AFTER = "2026-10-01T11:59:59Z", "2026-10-01T12:00:01Z"


def crashed(count: Any, ended: Any = None, began: Any = None) -> dict[str, Any]:
    """The status of a container that was restarted, with what Kubernetes may still know of when."""
    return {
        "restartCount": count,
        "state": {"running": {"startedAt": began}} if began else {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": ended}} if ended else {},
    }


def node(name: str = "n", gpus: str = "8", ready: str = "True", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"allocatable": {GPU: gpus}, "conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(
    name: str = "p",
    *,
    on: str = "n",
    gpus: int = 1,
    ready: str = "True",
    pool: str = "old",
    phase: str = "Running",
    **status: Any,
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"inference-pool": pool}},
        "spec": {"nodeName": on, "containers": [{"resources": {"requests": {GPU: str(gpus)}}}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}], **status},
    }


def deployment(
    *,
    replicas: int = 2,
    available: int = 2,
    updated: int = 2,
    total: int = 2,
    generation: int = 1,
    observed: int = 1,
    conditions: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "d", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": observed,
            "availableReplicas": available,
            "updatedReplicas": updated,
            "replicas": total,
            "conditions": list(conditions),
        },
    }


@pytest.mark.parametrize(
    ("nodes", "pods", "needed", "phase"),
    [
        ([node()], [], 8, Phase.READY),
        ([node()], [pod(gpus=6)], 3, Phase.WAITING),
        ([node()], [pod(gpus=6, pool="new")], 3, Phase.READY),
        ([node()], [pod(gpus=6, phase="Succeeded")], 3, Phase.READY),
        ([node()], [pod(gpus=6, on="other")], 3, Phase.READY),
        ([node(ready="False")], [], 1, Phase.WAITING),
        ([node(unschedulable=True)], [], 1, Phase.WAITING),
        ([], [], 1, Phase.WAITING),
    ],
)
def test_nodes_need_free_accelerators(nodes: list[Any], pods: list[Any], needed: int, phase: Phase) -> None:
    assert nodes_readiness(nodes, pods, [Replicas(needed, 1, GPU)], {"inference-pool": "new"}).phase is phase


def test_accelerators_that_lie_apart_are_no_room_for_a_pod_that_needs_several_of_one_node() -> None:
    apart = [node(f"n{number}", gpus="1") for number in range(8)]
    answer = nodes_readiness(apart, [], [Replicas(1, 8, GPU)], {})
    assert answer.phase is Phase.WAITING
    assert "they lie apart: only 0 of 1 pods with 8 each fit on a node" in answer.message
    assert nodes_readiness([*apart, node("whole")], [], [Replicas(1, 8, GPU)], {}).phase is Phase.READY


TEAM = {"key": "team", "value": "vision", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("taint", "tolerations", "phase"),
    [
        (TEAM, [], Phase.WAITING),
        (TEAM, [{"key": "team", "value": "vision"}], Phase.READY),
        (TEAM, [{"key": "team", "value": "speech"}], Phase.WAITING),
        (TEAM, [{"key": "team", "operator": "Exists", "effect": "NoExecute"}], Phase.WAITING),
        (TEAM, [{"operator": "Exists"}], Phase.READY),
        (TEAM | {"effect": "PreferNoSchedule"}, [], Phase.READY),
        ({"key": GPU, "value": "present", "effect": "NoSchedule"}, [], Phase.READY),
    ],
)
def test_nodes_that_are_tainted_for_others_are_no_room(
    taint: dict[str, Any], tolerations: list[Any], phase: Phase
) -> None:
    answer = nodes_readiness([node(taints=[taint])], [], [Replicas(1, 1, GPU, tolerations)], {})
    assert answer.phase is phase
    assert ("tainted for others" in answer.message) is (phase is Phase.WAITING)


@pytest.mark.parametrize(
    ("live", "pods", "phase", "words"),
    [
        (deployment(), [], Phase.READY, "2 of 2"),
        (deployment(available=1), [pod(ready="False", phase="Pending")], Phase.WAITING, "Pending"),
        (deployment(observed=0), [], Phase.WAITING, ""),
        (deployment(total=3), [], Phase.WAITING, ""),
        (deployment(updated=1), [], Phase.WAITING, ""),
        (
            deployment(available=0),
            [pod(ready="False", containerStatuses=[crashed(3, ended=AFTER)])],
            Phase.FAILED,
            "crashed 3 times",
        ),
        (
            deployment(available=0),
            [pod(ready="False", containerStatuses=[{"state": {"waiting": {"reason": "InvalidImageName"}}}])],
            Phase.FAILED,
            "InvalidImageName",
        ),
        (
            deployment(
                conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
            ),
            [],
            Phase.FAILED,
            "no progress",
        ),
    ],
)
def test_a_workload_is_ready_when_every_replica_is_current_and_available(
    live: dict[str, Any], pods: list[Any], phase: Phase, words: str
) -> None:
    answer = workload_readiness(live, pods, STEP, STEP)
    assert answer.phase is phase
    assert words in answer.message


def test_unschedulable_pods_are_waited_for_and_named() -> None:
    waiting = pod(ready="False", phase="Pending")
    waiting["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no gpu"}
    )
    answer = workload_readiness(deployment(available=0), [waiting], STEP, STEP)
    assert answer.phase is Phase.WAITING
    assert "Unschedulable: 0/3 nodes: no gpu" in answer.message


OURS = Parent("gw", "default")
ATTACHED = {"spec": {"parentRefs": [{"name": "gw"}, {"name": "other"}]}}


def parent(generation: int = 2, gateway: str = "gw", **states: Any) -> dict[str, Any]:
    conditions = [
        {"type": kind, "status": status, "observedGeneration": generation, "reason": "R", "message": "m"}
        for kind, status in {"Accepted": "True", "ResolvedRefs": "True", **states}.items()
    ]
    return {"parentRef": {"name": gateway}, "conditions": conditions}


@pytest.mark.parametrize(
    ("parents", "phase"),
    [
        ([parent()], Phase.READY),
        ([parent(generation=1)], Phase.WAITING),
        ([parent(gateway="other")], Phase.WAITING),
        ([parent(gateway="other"), parent()], Phase.READY),
        ([parent(ResolvedRefs="False")], Phase.WAITING),
        ([parent(Accepted="False")], Phase.WAITING),
        ([], Phase.WAITING),
    ],
)
def test_only_the_word_of_our_gateway_at_the_current_generation_counts(
    parents: list[Any], phase: Phase
) -> None:
    obj = {"metadata": {"name": "x", "generation": 2}, **ATTACHED, "status": {"parents": parents}}
    assert pool_readiness(obj, [OURS]).phase is phase
    assert route_readiness(obj, [OURS]).phase is phase


def test_a_partially_invalid_route_is_not_ready() -> None:
    obj = {
        "metadata": {"name": "x", "generation": 2},
        **ATTACHED,
        "status": {"parents": [parent(PartiallyInvalid="True")]},
    }
    assert route_readiness(obj, [OURS]).phase is Phase.WAITING


def test_terminating_pods_do_not_count_as_ready() -> None:
    leaving = pod("b")
    leaving["metadata"]["deletionTimestamp"] = "now"
    assert [p["metadata"]["name"] for p in ready_pods([pod("a"), leaving, pod("c", ready="False")])] == ["a"]


@pytest.mark.parametrize(
    ("containers", "count"),
    [
        ([], 0),
        ([crashed(0, began=AFTER)], 0),  # a new pod's first start is no restart
        ([crashed(2, ended=BEFORE)], 0),
        ([crashed(2, ended=BEFORE, began=AFTER)], 0),  # it was waiting for its back-off when the step began
        ([crashed(2, ended=AFTER)], 2),
        ([crashed(2, began=BEFORE)], 0),
        ([crashed(2, began=AFTER)], 2),  # lastState is lost with the node's memory
        ([crashed(2)], 0),
        ([crashed(5, ended=BEFORE), crashed(1, ended=AFTER)], 1),
    ],
)
def test_only_restarts_that_go_on_in_this_step_count(containers: list[Any], count: int) -> None:
    assert restarts([pod("quiet"), pod("p", containerStatuses=containers)], STEP) == count
    assert restarts([pod(str(i), containerStatuses=[c]) for i, c in enumerate(containers)], STEP) == count


def test_the_worst_answer_wins_and_the_first_among_equals() -> None:
    phases = [(Phase.READY, "r"), (Phase.WAITING, "1"), (Phase.WAITING, "2")]
    assert worst([Readiness(phase, message) for phase, message in phases]).message == "1"
    assert worst([]).phase is Phase.READY
