"""By when somebody must have made a rollout's next move: what a plan allows, and slack for a slow scheduler.

All are seconds from now. What they bound ends earlier by itself; they count where it did not.
"""

from __future__ import annotations

from inference_rollouts.core.limits import TURN_SLACK
from inference_rollouts.core.plan.plan import Plan


def until_warm(plan: Plan) -> float:
    """From the claim to the warm-up's end: gateways accept the canary, its pods become warm."""
    return plan.deadlines.route + plan.deadlines.warm_up + TURN_SLACK


def until_raised(plan: Plan) -> float:
    """From a permission to the raise (or promotion) that it permits, for which there must be room."""
    return plan.deadlines.route + TURN_SLACK


def until_judged(plan: Plan, step: int) -> float:
    """From a raise to the judge's verdict on it."""
    bake = plan.all_steps[step - 1].bake
    return plan.initial_delay + bake + plan.analysis.progress_deadline + plan.deadlines.route + TURN_SLACK


def until_answered(plan: Plan) -> float:
    """From a question to a person's answer, or their silence."""
    return plan.approvals.timeout + TURN_SLACK
