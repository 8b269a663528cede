"""A rollout's next move is due when the plan's own deadlines are over, never before."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inference_rollouts.core.run.pace import (
    answered_by,
    judged_by,
    raised_by,
    until_answered,
    until_judged,
    until_raised,
    until_warm,
)
from tests.support.calendars import NIGHTS, at, calendar
from tests.support.plans import llm_plan

SECONDS = st.floats(0, 1e6)


@settings(deadline=None)
@given(SECONDS, SECONDS, SECONDS, SECONDS)
def test_each_move_may_take_as_long_as_what_it_waits_for(
    route: float, warm_up: float, progress: float, delay: float
) -> None:
    plan = llm_plan(
        initial_delay=delay,
        deadlines={"route": route, "warm_up": warm_up},
        analysis={"progress_deadline": progress},
        approvals={"timeout": "2h"},
    )
    assert until_warm(plan) >= route + warm_up
    assert until_raised(plan) >= route
    assert until_judged(plan, 3) >= plan.step_context(3, 0.0).baked_at + progress
    assert until_answered(plan) == 7200.0


def test_over_a_closed_window_the_next_move_is_due_after_it_opens() -> None:
    plan, nights, now = llm_plan(), calendar(NIGHTS), at("2026-11-27 12:00")
    opens, last = at("2026-11-27 22:00"), len(plan.all_steps)
    assert raised_by(plan, nights, 2, now) == opens + plan.deadlines.route
    assert raised_by(plan, nights, last + 1, now) == now + plan.deadlines.route  # promotion
    assert judged_by(plan, nights, last, now) == now + until_judged(plan, last)


def test_where_the_plan_goes_back_then_every_move_is_due_when_the_window_closes() -> None:
    plan = llm_plan(approvals={"timeout": "2h"})
    nights, closes = calendar(NIGHTS, at_window_end="rollback"), at("2026-11-27 06:00")
    for step in (2, 3, len(plan.all_steps) + 1):
        assert raised_by(plan, nights, step, closes - 60) == closes
    assert judged_by(plan, nights, 2, closes - 60) == answered_by(plan, nights, closes - 60) == closes
    assert raised_by(plan, nights, 2, closes + 60) == closes + 60
    assert raised_by(plan, nights, 1, closes + 60) > closes + 3600, "without traffic nothing is taken back"
