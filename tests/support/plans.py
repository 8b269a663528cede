"""The project's own plans, as tests change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan, parse_plan
from inference_rollouts.core.run.frozen import Frozen

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
ROLLOUTS = INCLUDE / "rollouts"
RUN = "rollout_llm/test"
STABLE, CANARY = "llm-pool", "llm-pool-version-2"


def llm(**changes: Any) -> dict[str, Any]:
    """The plan file of llm, with changes."""
    return plan_file("llm") | changes


def llm_plan(**changes: Any) -> PoolPlan:
    return parse_plan(llm(**changes)).as_pool_plan


def food_review(**changes: Any) -> dict[str, Any]:
    """The plan file of food-review, with changes."""
    return plan_file("food-review") | changes


def food_review_plan(**changes: Any) -> AdapterPlan:
    return parse_plan(food_review(**changes)).as_adapter_plan


def frozen_food_review(stable_path: str = "/adapters/food-review-1", **changes: Any) -> Frozen:
    """As preflight freezes it, but for what it moves."""
    plan = food_review_plan(**changes)
    return Frozen(
        run=RUN,
        plan=plan,
        parents=(),
        targets=(),
        metric_set=load_metric_set(*plan.metrics),
        manifests=(),
        stable_pods=3,
        stable_path=stable_path,
    )


def plan_file(name: str) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((ROLLOUTS / f"{name}.yaml").read_text())
    return value


def parsed(value: dict[str, Any]) -> Plan:
    return parse_plan(value)
