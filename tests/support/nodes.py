"""Ways of a plan to bring nodes."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.plan.plan import PoolPlan
from tests.support.fake_gke import CLUSTER
from tests.support.plans import llm_plan

MACHINE: dict[str, Any] = {
    "accelerator": "nvidia-h200-141gb",
    "count": 2,
    "machine_type": "a3-ultragpu-2g",
    "zones": ["us-central1-a"],
}
NODE_POOL: dict[str, Any] = {"provisioner": "gke-node-pool", "cluster": CLUSTER, "machine": MACHINE}
CLASS: dict[str, Any] = {
    "provisioner": "compute-class",
    "machines": [{"accelerator": "nvidia-l4", "count": 8}],
}


def planned(nodes: dict[str, Any]) -> PoolPlan:
    return llm_plan(nodes=nodes)
