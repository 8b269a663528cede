"""A rollout's next move is due when the plan's own deadlines are over, never before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.run.pace import until_answered, until_judged, until_raised, until_warm
from tests.support.plans import llm_plan

SECONDS = st.floats(0, 1e6)


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
