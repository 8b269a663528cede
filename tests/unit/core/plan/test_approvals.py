"""What a plan may ask, and how the evidence goes on while a person thinks."""

from typing import Any

import pytest

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.judge import Carried, begin
from inference_rollouts.core.judging.sums import carried_of, evidence_of
from inference_rollouts.core.plan.approvals import Approvals
from inference_rollouts.core.reporting.approval import question
from tests.support.judging import judged, policy, quiet_windows, small_set, step
from tests.support.plans import llm_plan


@pytest.mark.parametrize(
    ("weight", "following", "due"), [(25, 50, True), (5, 100, True), (50, 100, False), (5, 25, False)]
)
def test_no_big_step_jumps_over_an_approval(weight: int, following: int, due: bool) -> None:
    assert Approvals(steps=(50,)).due(weight, following) is due


GOES_BACK = {"analysis": {"on_timeout": "rollback"}}


@pytest.mark.parametrize(
    ("changes", "asks"),
    [
        ({}, True),
        (GOES_BACK, False),
        (GOES_BACK | {"approvals": {"steps": [100]}}, True),
        (GOES_BACK | {"approvals": {"retire": True}}, False),
    ],
)
def test_a_plan_asks_unless_an_undecided_step_goes_back(changes: dict[str, Any], asks: bool) -> None:
    assert llm_plan(**changes).can_ask is asks


def test_an_approval_that_could_not_be_asked_for_is_refused() -> None:
    with pytest.raises(PlanInvalid, match="a person is asked after a step"):
        llm_plan(approvals={"steps": [5]})


def test_a_watch_that_is_begun_anew_changes_no_evidence() -> None:
    """However often: the chance of a false alarm is that of the steps alone."""
    sums = begin(policy(), small_set(), step(index=1, steps=2), Carried())
    carried, before = carried_of(sums, 0), evidence_of(sums).log_e
    for _ in range(100):
        again = begin(policy(), small_set(), step(index=1, steps=2, resumed=True), carried)
        carried = carried_of(again, 0)
    assert evidence_of(again).log_e == pytest.approx(before, abs=1e-9)
    assert carried.steps == 1


def test_what_a_metric_is_called_stays_in_its_cell() -> None:
    plan = llm_plan(approvals={"steps": [100]})
    last = step(index=len(plan.all_steps) - 1, steps=len(plan.all_steps))
    asked = question(plan, judged(quiet_windows(6), step=last, metric_set=small_set(title="4xx | 5xx")))
    assert asked
    assert "| 4xx \\| 5xx |" in asked.body
