"""What the runs in the world of traffic are of: a plan, its metric set, pools and pods."""

from __future__ import annotations

from functools import cache
from typing import Any

from inference_rollouts.clients.include import load_metric_set, load_plan, plan_files
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.objects.api_groups import POOL_APIS
from inference_rollouts.core.plan.plan import Plan, parse_plan

POOL_API, *_ = POOL_APIS


def pool(name: str) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": {"pool": name}}, "targetPorts": [{"number": 8000}]}
    return {"apiVersion": POOL_API, "kind": "InferencePool", "metadata": {"name": name}, "spec": spec}


def pod() -> dict[str, Any]:
    return {"metadata": {"name": "pod"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


@cache
def plan_of(weights: tuple[int, ...], stable: str, canary: str) -> Plan:
    """The plan llm with these steps, a second each."""
    file = next(each for each in plan_files() if each.stem == "llm")
    steps = [{"weight": weight, "bake": 1} for weight in weights]
    value = load_plan(file).model_dump(mode="json")
    return parse_plan(value | {"steps": steps, "stable": stable, "canary": canary, "routes": "all"})


@cache
def metric_set() -> MetricSet:
    return load_metric_set("vllm")
