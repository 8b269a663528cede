"""The tasks of a rollout, as far as kinds of plans differ in them."""

from __future__ import annotations

from inference_rollouts.core.plan.plan import Plan, PoolPlan


def preparation(plan: Plan) -> tuple[str, ...]:
    """The tasks, by name, that bring the canary up before any weight leaves 0."""
    if isinstance(plan, PoolPlan):
        return "provision_nodes", "deploy_pool", "warm_up"
    return "load_adapter", "warm_up"


def endings(plan: Plan) -> tuple[str, ...]:
    """The tasks, by name, that end a run after its rollback, however it went."""
    if isinstance(plan, PoolPlan) and plan.preview:
        return "end_preview", "report"
    return ("report",)
