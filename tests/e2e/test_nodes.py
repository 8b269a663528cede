"""Nodes that a compute class brings in a live lab: short of stock at first, then there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.shared import SharedLab
from bench.stage import example, ready, until
from inference_rollouts.core.objects.ownership import PLAN_LABEL
from inference_rollouts.rollout.checks import check_now, nodes_of
from lab.controllers.node_templates import node_templates
from lab.demo.story import STORIES

pytestmark = pytest.mark.timeout(600)

CLASS = ("cloud.google.com/v1", "ComputeClass", "llm-new")
ACCELERATOR = "cloud.google.com/gke-accelerator"


def machines(**changes: Any) -> dict[str, Any]:
    """The ConfigMap of what can be had."""
    h200 = {**STORIES["node"].machines["h200"], "seconds": 1, **changes}
    config = node_templates({"h200": h200})
    metadata = {**config["metadata"], "namespace": "default", "labels": {PLAN_LABEL: "llm-nodes"}}
    return {**config, "metadata": metadata}


def until_says(sentence: Callable[[], str], words: str) -> str:
    """The first sentence with these words."""
    sentences: list[str] = []

    def says() -> bool:
        sentences.append(sentence())
        return words in sentences[-1]

    until(says, words)
    return sentences[-1]


def test_without_stock_nothing_comes_later_and_with_stock_the_pods_run_on_it(lab: SharedLab) -> None:
    if "scheduler" in lab.stage.record.get("foreign", {}).get("runs", ()):
        pytest.skip("no autoscaler of the lab is beside another scheduler")
    cluster, run = lab.stage.cluster, lab.stage.freeze(example("llm-nodes"), "rollout_llm_nodes/live")

    def placement() -> str:
        return check_now(run, "placement").message

    cluster.apply(machines(refused="GCE_STOCKOUT"))
    nodes_of(run).request()
    for manifest in run.frozen.manifests:
        cluster.apply(manifest)
    assert "GCE_STOCKOUT" in until_says(placement, "FailedScaleUp: Node scale up in zones")

    nodes_of(run).take_back()
    assert cluster.find(*CLASS) is None
    cluster.apply(machines())
    until_says(placement, "NotTriggerScaleUp")
    assert cluster.select("v1", "Node", {ACCELERATOR: "nvidia-h200-141gb"}) == []

    nodes_of(run).request()
    until_says(placement, "3 of 3 pods have nodes")
    until(lambda: ready(run, "workloads"), "the pods to be ready")
    selector = run.plan.as_pool_plan.node_selector
    names = {node["metadata"]["name"] for node in cluster.select("v1", "Node", selector)}
    pods = lab.stage.pods("llm-new")
    assert names == {"llm-new-h200-1"} == {pod["spec"]["nodeName"] for pod in pods}
