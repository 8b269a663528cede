"""By when somebody must have made a rollout's next move, by its plan: seconds from now.

What they bound ends by itself then. The plan's `deadlines.abandon` comes on top, for whatever is slow.
"""

from __future__ import annotations

import math

from inference_rollouts.core.errors import WindowClosed
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.schedule.calendar import Calendar
from inference_rollouts.core.schedule.moves import leave_by, next_raise
from inference_rollouts.core.schedule.outlook import Pace


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


def raised_by(plan: Plan, calendar: Calendar, step: int, now: float) -> float:
    """When a raise of `step` that is permitted at `now` is due (Unix seconds); after the last, promotion.

    For a raise a window must open, if none is open. A canary that has traffic must have left by the end of a
    window where the plan goes back then.
    """
    leave = leave_by(calendar, now) if step > 1 else math.inf
    return min(_opens(plan, calendar, step, now) + until_raised(plan), leave)


def judged_by(plan: Plan, calendar: Calendar, step: int, now: float) -> float:
    """When the verdict on a raise at `now` is due, or the way back at the window's end (Unix seconds)."""
    return min(now + until_judged(plan, step), leave_by(calendar, now))


def answered_by(plan: Plan, calendar: Calendar, now: float) -> float:
    """The same for the answer to a question."""
    return min(now + until_answered(plan), leave_by(calendar, now))


def pace_of(plan: Plan) -> Pace:
    """What a rollout takes: an approval that is waited for adds to the most of its step."""
    limits, steps = plan.deadlines, plan.all_steps
    pool = limits.nodes + limits.ready + until_raised(plan) if isinstance(plan, PoolPlan) else 0.0
    following = [step.weight for step in steps[1:]]
    asked = [plan.approvals.due(step.weight, later) for step, later in zip(steps, following, strict=False)]
    return Pace(
        least=tuple(plan.initial_delay + step.bake for step in steps),
        most=tuple(
            until_raised(plan) + until_judged(plan, number) + until_answered(plan) * due
            for number, due in enumerate([*asked, False], start=1)
        ),
        preparation=pool + until_warm(plan),
    )


def lingers_after(plan: Plan) -> float:
    """Seconds that a run may take until it lingers: what the plan says, else all its phases at their latest.

    One question that nobody could foresee is allowed for where the plan can ask.
    """
    if plan.deadlines.linger is not None:
        return plan.deadlines.linger
    pace = pace_of(plan)
    return pace.preparation + sum(pace.most) + until_answered(plan) * plan.can_ask


def _opens(plan: Plan, calendar: Calendar, step: int, now: float) -> float:
    """When the next move may be made: at once, where it is no raise or can only be the way back."""
    try:
        return next_raise(calendar, step, now) if step <= len(plan.all_steps) else now
    except WindowClosed:
        return now
