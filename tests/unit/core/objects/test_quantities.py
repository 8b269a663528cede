"""What pods take of nodes, in all ways in which Kubernetes writes it."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.objects.quantities import requested, units
from inference_rollouts.core.objects.readiness import Phase, Replicas, nodes_readiness

GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("quantity", "whole"),
    [
        ("8", 8), (8, 8), ("8.0", 8), ("1k", 1000), ("24k", 24000), ("16Gi", 16 * 2**30), ("1e3", 1000),
        ("2E1", 20), ("1E", 10**18), ("500m", 0), ("0", 0), (None, 0), ("", 0), ("many", 0), ("1kk", 0),
    ],
)  # fmt: skip
def test_a_quantity_is_so_many_units(quantity: Any, whole: int) -> None:
    assert units(quantity) == whole


def asking(amount: str, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {GPU: amount}}, **more}


@pytest.mark.parametrize(
    ("before", "beside", "takes"),
    [
        ([], ["4", "2"], 6),
        ([asking("8")], ["4"], 8),
        ([asking("2")], ["4"], 4),
        ([asking("2", restartPolicy="Always")], ["4"], 6),
        ([asking("2", restartPolicy="Always"), asking("3")], ["1"], 5),
        ([asking("3"), asking("2", restartPolicy="Always")], [], 3),
    ],
)
def test_a_pod_takes_what_its_containers_take_together_at_any_time(
    before: list[dict[str, Any]], beside: list[str], takes: int
) -> None:
    pod = {"spec": {"initContainers": before, "containers": [asking(each) for each in beside]}}
    assert requested(pod, GPU) == takes


def test_a_node_is_as_full_as_its_pods_say_however_they_write_it() -> None:
    status = {"allocatable": {GPU: "2k"}, "conditions": [{"type": "Ready", "status": "True"}]}
    node = {"metadata": {"name": "a", "labels": {}}, "spec": {}, "status": status}
    spec = {
        "nodeName": "a",
        "containers": [asking("1k")],
        "initContainers": [asking("1", restartPolicy="Always")],
    }
    pods = [{"metadata": {"name": "p"}, "spec": spec}]
    for each, phase in ((999, Phase.READY), (1000, Phase.WAITING)):
        assert nodes_readiness([node], pods, [Replicas(1, each, GPU)], {"x": "y"}).phase is phase
