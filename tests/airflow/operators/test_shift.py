"""A raise outside of the plan's windows waits for the next one, or is given up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from inference_rollouts.core.errors import NotReady
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.routing.claim import CLAIM
from inference_rollouts.dag import build_dag
from inference_rollouts.operators.traffic import ShiftWeight
from inference_rollouts.rollout.control import Control
from inference_rollouts.triggers.room import RoomTrigger
from tests.support.airflow import Told, context_of, use
from tests.support.calendars import calendar, window
from tests.support.plans import CANARY, STABLE, llm_plan
from tests.support.routes import ref
from tests.support.steps import START, Step

DAG = build_dag(llm_plan())
NIGHT = window("00:00", "00:20", "UTC")
CLOSES, OPENS = 1200.0, 86400.0  # Unix seconds
HALF, ALL = {STABLE: 50, CANARY: 50}, {STABLE: 0, CANARY: 100}
READY = {"phase": Phase.READY, "message": "there is room"}


class Night:
    """A canary whose step at 50 % has passed; task and API server have the time `now`, but for its `lead`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at_window_end: str = "stay", **how: Any) -> None:
        self.now, self.lead = START, 0.0
        when = calendar(NIGHT, at_window_end=at_window_end)
        self.step = Step(START, clock=lambda: self.now + self.lead, calendar=when, **how)
        use(self.step.run.clients, monkeypatch)
        clock = SimpleNamespace(time=lambda: self.now)
        monkeypatch.setattr("inference_rollouts.operators.traffic.time", clock)
        self.step.run.traffic.permit(1, START)
        self.task = ShiftWeight(task_id="step_2.shift", step=2)
        self.context = context_of(Told(preflight={"return_value": self.step.run.frozen.to_json()}), DAG)

    def execute(self) -> Any:
        return self.task.execute(self.context)

    def decided(self) -> Any:
        return self.task.decided(self.context, READY)

    def waits(self, act: Any) -> RoomTrigger:
        """For what the task is deferred."""
        with pytest.raises(TaskDeferred) as deferred:
            act()
        trigger = deferred.value.trigger
        assert isinstance(trigger, RoomTrigger)
        assert deferred.value.timeout
        assert deferred.value.timeout.total_seconds() > trigger.deadline - self.now
        return trigger


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch) -> Night:
    return Night(monkeypatch)


def test_in_a_window_it_is_raised(night: Night) -> None:
    assert night.execute()["percent"] == 100
    assert night.step.cluster.weights() == ALL


def test_a_raise_that_died_between_two_routes_goes_back_before_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = lambda cluster: cluster.put_route("second", [ref(STABLE)])  # noqa: E731
    night = Night(monkeypatch, before=second, routes="all")
    traffic = night.step.run.traffic
    traffic.targets = traffic.targets[:1]
    traffic.shift(2, night.step.run.plan.all_steps[1], START)
    night.now = CLOSES
    night.waits(night.execute)
    assert [claim.percent for claim in night.step.run.traffic.claims()] == [50, 50]


def test_after_it_the_raise_waits_for_the_next_one_and_the_claim_says_so(night: Night) -> None:
    night.now = CLOSES
    trigger = night.waits(night.execute)
    route = night.step.run.plan.deadlines.route
    assert (trigger.opens, trigger.deadline) == (OPENS, OPENS + route)
    assert night.step.cluster.weights() == HALF
    [claim] = night.step.run.traffic.claims()
    assert claim.next_move_by == OPENS + route
    night.now = OPENS + 1
    assert night.decided()["percent"] == 100


@pytest.mark.parametrize("paused", [False, True])
def test_a_step_that_nobody_let_pass_is_left_at_once_and_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch, *, paused: bool
) -> None:
    """Its judge was marked as successful, so that nothing of it says how to watch the step meanwhile."""
    night = Night(monkeypatch)
    run = night.step.run
    if paused:
        Control(run.cluster, run.frozen.targets, run.frozen.token).give("pause", "anna", "a look")
    route = night.step.cluster.route
    [claim] = run.traffic.claims()
    route["metadata"]["annotations"][CLAIM] = claim.with_(verdict=None).to_json()
    night.now = CLOSES
    with pytest.raises(NotReady, match="nothing says that step 1 passed"):
        night.execute()


def test_a_window_that_closed_while_room_was_found_is_waited_for_again(night: Night) -> None:
    night.now = CLOSES + 1
    assert night.waits(night.decided).opens == OPENS


def test_a_task_whose_clock_is_behind_waits_all_the_same(night: Night) -> None:
    night.now, night.lead = CLOSES - 5, 10.0
    assert night.waits(night.execute).opens == OPENS
    [claim] = night.step.run.traffic.claims()
    assert claim.next_move_by is not None
    assert claim.next_move_by > OPENS
    assert night.step.cluster.weights() == HALF


def test_a_raise_that_an_earlier_try_has_made_waits_for_nothing(night: Night) -> None:
    night.execute()
    night.now = CLOSES
    assert night.execute()["percent"] == 100


def test_where_the_plan_goes_back_then_the_raise_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(monkeypatch, "rollback")
    night.now = CLOSES
    with pytest.raises(NotReady, match="The weights were not raised: The window has closed"):
        night.execute()


def test_where_it_finishes_it_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(monkeypatch, "finish")
    night.now = CLOSES
    assert night.execute()["percent"] == 100
