"""Nodes that a compute class brings in a live lab: short of stock at first, then there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.reflex import Theatre, theatre
from lab.controllers.node_templates import node_templates
from lab.demo.story import STORIES

pytestmark = pytest.mark.timeout(200)

RUN = "rollout_llm_nodes/live"
ROOT = Path(__file__).parents[2]
CLASS = ("cloud.google.com/v1", "ComputeClass", "llm-new")
ACCELERATOR = "cloud.google.com/gke-accelerator"


def machines(**changes: Any) -> dict[str, Any]:
    """The ConfigMap of what can be had."""
    h200 = {**STORIES["node"].machines["h200"], "seconds": 1, **changes}
    found = node_templates({"h200": h200})
    return {**found, "metadata": {**found["metadata"], "namespace": "default"}}


def until(look: Callable[[], str], words: str, seconds: float = 60) -> None:
    """Return when `look` says these words."""
    deadline = time.monotonic() + seconds
    while words not in (said := look()):
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def node_rollout(stage: Theatre) -> Any:
    """The example plan, frozen by preflight, which asks the stable pods for their model."""
    from inference_rollouts.clients.include import load_plan
    from inference_rollouts.preflight import freeze

    plan = load_plan(ROOT / "include/rollouts/llm-nodes.yaml")
    return freeze(plan, RUN, stage.cluster, stage.prometheus)


def test_without_stock_nothing_comes_later_and_with_stock_the_pods_run_on_it(tmp_path: Path) -> None:
    from inference_rollouts.rollout.checks import nodes_of
    from inference_rollouts.triggers.ready import look

    os.environ.setdefault("INFERENCE_ROLLOUTS_INCLUDE", str(ROOT / "include"))
    with theatre(tmp_path / "lab") as stage:
        cluster, frozen = stage.cluster, node_rollout(stage)

        def placement() -> str:
            return look(cluster, frozen, "placement").message

        cluster.apply(machines(refused="GCE_STOCKOUT"))
        nodes_of(cluster, frozen).ask()
        for manifest in frozen.manifests:
            cluster.apply(manifest)
        until(placement, "FailedScaleUp: Node scale up in zones")
        assert "GCE_STOCKOUT" in placement()

        nodes_of(cluster, frozen).take_back()
        assert cluster.find(*CLASS) is None
        cluster.apply(machines())
        until(placement, "NotTriggerScaleUp")
        assert cluster.select("v1", "Node", {ACCELERATOR: "nvidia-h200-141gb"}) == []

        nodes_of(cluster, frozen).ask()
        until(placement, "3 of 3 pods have nodes")
        until(lambda: look(cluster, frozen, "workloads").phase.value, "ready")
        names = {node["metadata"]["name"] for node in cluster.select("v1", "Node", frozen.plan.node_selector)}
        pods = cluster.select("v1", "Pod", {"inference-pool": "llm-new"})
        assert names == {"llm-new-h200-1"} == {pod["spec"]["nodeName"] for pod in pods}
