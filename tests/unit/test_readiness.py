import pytest

from inference_rollouts.core.readiness import (
    Phase,
    Readiness,
    gateway_name,
    nodes_readiness,
    pool_readiness,
    ready_pods,
    route_readiness,
    workload_readiness,
    worst,
)

GPU = "nvidia.com/gpu"


def node(name="n", gpus="8", ready="True", **spec):
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"allocatable": {GPU: gpus}, "conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(name="p", *, on="n", gpus=1, ready="True", pool="old", phase="Running", **status):
    return {
        "metadata": {"name": name, "labels": {"inference-pool": pool}},
        "spec": {"nodeName": on, "containers": [{"resources": {"requests": {GPU: str(gpus)}}}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}], **status},
    }


def deployment(*, replicas=2, available=2, updated=2, total=2, generation=1, observed=1, conditions=()):
    return {
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
def test_nodes_need_free_accelerators(nodes, pods, needed, phase):
    assert nodes_readiness(nodes, pods, GPU, needed, {"inference-pool": "new"}).phase is phase


@pytest.mark.parametrize(
    ("live", "pods", "phase", "said"),
    [
        (deployment(), [], Phase.READY, "2 of 2"),
        (deployment(available=1), [pod(ready="False", phase="Pending")], Phase.WAITING, "Pending"),
        (deployment(observed=0), [], Phase.WAITING, ""),
        (deployment(total=3), [], Phase.WAITING, ""),
        (deployment(updated=1), [], Phase.WAITING, ""),
        (
            deployment(available=0),
            [pod(ready="False", containerStatuses=[{"restartCount": 3, "state": {}}])],
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
def test_a_workload_is_ready_when_every_replica_is_current_and_available(live, pods, phase, said):
    answer = workload_readiness(live, pods)
    assert answer.phase is phase
    assert said in answer.message


def test_unschedulable_pods_are_waited_for_and_named():
    waiting = pod(ready="False", phase="Pending")
    waiting["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: no gpu"}
    )
    answer = workload_readiness(deployment(available=0), [waiting])
    assert answer.phase is Phase.WAITING
    assert "Unschedulable: 0/3 nodes: no gpu" in answer.message


def parent(generation=2, gateway="gw", **states):
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
def test_only_the_word_of_our_gateway_at_the_current_generation_counts(parents, phase):
    thing = {"metadata": {"name": "x", "generation": 2}, "status": {"parents": parents}}
    assert pool_readiness(thing, "gw").phase is phase
    assert route_readiness(thing, "gw").phase is phase


def test_a_partially_invalid_route_is_not_ready():
    thing = {
        "metadata": {"name": "x", "generation": 2},
        "status": {"parents": [parent(PartiallyInvalid="True")]},
    }
    assert route_readiness(thing, "gw").phase is Phase.WAITING


@pytest.mark.parametrize(
    ("parents", "wanted", "name"),
    [
        (["a"], None, "a"),
        (["a", "a"], None, "a"),
        (["a", "b"], None, None),
        (["a", "b"], "b", "b"),
        (["a"], "c", None),
    ],
)
def test_the_gateway_is_the_only_parent_or_the_one_asked_for(parents, wanted, name):
    route = {"spec": {"parentRefs": [{"name": parent} for parent in parents]}}
    assert gateway_name(route, wanted) == name


def test_terminating_pods_do_not_count_as_ready():
    leaving = pod("b")
    leaving["metadata"]["deletionTimestamp"] = "now"
    assert [p["metadata"]["name"] for p in ready_pods([pod("a"), leaving, pod("c", ready="False")])] == ["a"]


def test_the_worst_answer_wins_and_the_first_among_equals():
    ready, first, second = (Readiness(p, m) for p, m in [("ready", "r"), ("waiting", "1"), ("waiting", "2")])
    assert worst([Readiness(Phase(a.phase), a.message) for a in (ready, first, second)]).message == "1"
    assert worst([]).phase is Phase.READY
