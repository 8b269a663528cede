"""By when somebody must have made a rollout's next move, by its plan: seconds from now.

What they bound ends by itself then. The plan's `deadlines.abandon` comes on top, for whatever is slow.
"""

from __future__ import annotations

from inference_rollouts.core.plan.plan import Plan


def until_warm(plan: Plan) -> float:
    """From the claim to the warm-up's end: gateways accept the canary, its pods become warm."""
    return plan.deadlines.route + plan.deadlines.warm_up


def until_raised(plan: Plan) -> float:
    """From a permission to the raise (or promotion) that it permits, for which there must be room."""
    return plan.deadlines.route


def until_judged(plan: Plan, step: int) -> float:
    """From a raise to the judge's verdict on it."""
    bake = plan.all_steps[step - 1].bake
    return plan.initial_delay + bake + plan.analysis.progress_deadline + plan.deadlines.route


def until_answered(plan: Plan) -> float:
    """From a question to a person's answer, or their silence."""
    return plan.approvals.timeout
