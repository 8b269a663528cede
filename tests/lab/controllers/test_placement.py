"""Which node a pod gets, and what the scheduler says when there is none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lab.controllers.placement import place, quantity, requests_of

GPU = "nvidia.com/gpu"


def node(name: str, gpus: int = 8, taints: list[dict[str, str]] | None = None, **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": "8", "memory": "64Gi", "pods": "110", **({GPU: str(gpus)} if gpus else {})}
    labels = {"kind": "gpu" if gpus else "cpu"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints or [], **spec},
        "status": {"allocatable": allocatable},
    }


def pod(gpus: int = 1, on: str | None = None, **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": "500m"}, "limits": {GPU: str(gpus)} if gpus else {}}
    where = {"nodeName": on} if on else {}
    return {"spec": {"containers": [{"resources": resources}], **where, **spec}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("2", "2"), ("1Gi", str(1024**3)), ("1k", "1000"), ("1.5G", "1500000000"), (8, "8")],
)
def test_quantities(text: Any, value: str) -> None:
    assert quantity(text) == Decimal(value)


def test_requests_default_to_limits_and_cover_init_containers() -> None:
    asked = requests_of(pod(2, initContainers=[{"resources": {"requests": {"cpu": "3"}}}]))
    assert asked == {GPU: 2, "cpu": 3, "pods": 1}


def test_pods_spread_over_the_emptier_node() -> None:
    nodes = [node("a"), node("b")]
    placed: list[dict[str, Any]] = []
    for _ in range(4):
        chosen = place(pod(), nodes, placed).node
        placed.append(pod(on=chosen))
    assert sorted(each["spec"]["nodeName"] for each in placed) == ["a", "a", "b", "b"]


def test_pods_that_ended_hold_nothing() -> None:
    done = {**pod(8, on="a"), "status": {"phase": "Succeeded"}}
    assert place(pod(8), [node("a")], [done]).node == "a"
    assert place(pod(8), [node("a")], [pod(1, on="a")]).node is None


def test_the_message_counts_reasons_as_kube_scheduler_does() -> None:
    nodes = [
        node("full"),
        node("cpu", gpus=0),
        node("cordoned", unschedulable=True),
        node("tainted", taints=[{"key": GPU, "value": "present", "effect": "NoSchedule"}]),
    ]
    waiting = pod(1, nodeSelector={"kind": "gpu"})
    message = place(waiting, nodes, [pod(8, on="full")]).message
    assert message == (
        "0/4 nodes are available: 1 Insufficient nvidia.com/gpu, "
        "1 node(s) didn't match Pod's node affinity/selector, "
        "1 node(s) had untolerated taint {nvidia.com/gpu: present}, "
        "1 node(s) were unschedulable. "
        "preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    )


def test_a_pod_without_a_gpu_fits_anywhere_and_with_one_only_there() -> None:
    nodes = [node("cpu", gpus=0), node("gpu")]
    assert place(pod(1), nodes, []).node == "gpu"
    assert place(pod(0), nodes, []).node in ("cpu", "gpu")


@pytest.mark.parametrize(
    "toleration",
    [
        {"operator": "Exists"},
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
        {"key": GPU, "value": "present"},
    ],
)
def test_tolerations(toleration: dict[str, str]) -> None:
    tainted = [node("a", taints=[{"key": GPU, "value": "present", "effect": "NoSchedule"}])]
    assert place(pod(tolerations=[toleration]), tainted, []).node == "a"
    assert (
        place(pod(tolerations=[{**toleration, "key": "other", "operator": "Equal"}]), tainted, []).node
        is None
    )


def test_required_node_affinity() -> None:
    term = {"matchExpressions": [{"key": "kind", "operator": "In", "values": ["gpu"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    picky = pod(0, affinity={"nodeAffinity": required})
    assert place(picky, [node("cpu", gpus=0), node("gpu")], []).node == "gpu"
    assert place(picky, [node("cpu", gpus=0)], []).node is None


def test_no_nodes() -> None:
    assert place(pod(), [], []).message == "no nodes available to schedule pods"
