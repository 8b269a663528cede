"""Outside of its windows a rollout is not raised; it is watched as ever, and may go back at any time."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import WindowClosed
from inference_rollouts.core.limits import LEASE_SECONDS
from inference_rollouts.core.routing.claim import CLAIM
from inference_rollouts.core.schedule.calendar import Calendar
from inference_rollouts.rollout.control import Control
from inference_rollouts.rollout.guardian import Guardian, Round
from inference_rollouts.rollout.way_back import Restored
from tests.support.calendars import calendar, window
from tests.support.plans import CANARY, STABLE
from tests.support.steps import START, Step

NIGHT = window("00:00", "00:20", "UTC")
CLOSES, OPENS = 1200.0, 86400.0  # Unix seconds
HALF, AS_FOUND = {STABLE: 50, CANARY: 50}, {STABLE: 1}


class Night:
    """A canary that has had 50 % since `START`, in a night that ends at `CLOSES`."""

    def __init__(self, at_window_end: str = "stay", **more: Any) -> None:
        self.now = START
        when: Calendar = calendar(NIGHT, at_window_end=at_window_end, **more)
        self.step = Step(self.now, clock=lambda: self.now, calendar=when)
        self.cluster, self.traffic = self.step.cluster, self.step.run.traffic
        self.route = self.step.run.plan.deadlines.route
        self.abandon = self.step.run.plan.deadlines.abandon
        self.guardian = Guardian(self.cluster, self.step.prometheus, "guardian a")

    def pass_(self, at: float) -> None:
        self.now = at
        self.traffic.permit(1, at)

    def raise_(self, at: float) -> None:
        self.now = at
        self.traffic.shift(2, self.step.run.plan.all_steps[1], at)

    def look(self, at: float) -> Round:
        self.now = at
        return self.guardian.round()

    @property
    def next_move_by(self) -> float | None:
        [claim] = self.traffic.claims()
        return claim.next_move_by


def test_a_raise_outside_of_the_windows_is_refused_and_nothing_is_written() -> None:
    night = Night()
    night.pass_(START + 100)
    writes = len(night.cluster.writes)
    with pytest.raises(WindowClosed) as closed:
        night.raise_(CLOSES)
    assert closed.value.opens == OPENS
    assert len(night.cluster.writes) == writes
    assert night.cluster.weights() == HALF
    night.raise_(OPENS)
    assert night.cluster.weights() == {STABLE: 0, CANARY: 100}


def test_the_clock_of_the_api_server_counts_not_that_of_the_task() -> None:
    night = Night()
    night.pass_(START + 100)
    night.now = CLOSES
    with pytest.raises(WindowClosed):
        night.traffic.shift(2, night.step.run.plan.all_steps[1], CLOSES - 60)


def test_a_raise_that_was_made_in_time_may_be_repeated_later() -> None:
    night = Night()
    night.pass_(START + 100)
    night.raise_(CLOSES - 1)
    night.raise_(CLOSES + 1)
    [claim] = night.traffic.claims()
    assert claim.since == CLOSES - 1


@pytest.mark.parametrize("more", [{"at_window_end": "finish"}, {"override": "an incident"}])
def test_one_that_finishes_or_is_allowed_to_is_raised_all_the_same(more: dict[str, str]) -> None:
    night = Night(**more)
    night.pass_(CLOSES + 100)
    night.raise_(CLOSES + 200)
    assert night.cluster.weights() == {STABLE: 0, CANARY: 100}


def test_going_back_waits_for_no_window() -> None:
    night = Night()
    night.now = CLOSES + 1
    assert night.traffic.way_back.restore("a person says so", night.now) is Restored.DONE
    assert night.cluster.weights() == AS_FOUND


def test_while_it_stays_over_the_day_the_guardian_watches_it_and_ends_it_only_when_nobody_goes_on() -> None:
    night = Night()
    night.pass_(CLOSES + 10)
    assert night.next_move_by == OPENS + night.route
    for hours in (1, 12, 23):
        seen = night.look(hours * 3600.0)
        assert (seen.watching, seen.ended) == (1, ())
    due = OPENS + night.route + night.abandon
    assert night.look(due - 1).ended == ()
    assert night.cluster.weights() == HALF
    assert len(night.look(due + 1).ended) == 1
    assert night.cluster.weights() == AS_FOUND
    assert CLAIM not in night.cluster.notes()


def test_one_that_was_allowed_in_the_window_says_so_when_its_raise_finds_it_closed() -> None:
    night = Night()
    night.pass_(CLOSES - 1)
    assert night.next_move_by == CLOSES - 1 + night.route
    night.now = CLOSES
    night.traffic.wait(OPENS - CLOSES + night.route)
    assert night.look(OPENS).ended == ()


def test_an_alarm_in_the_day_takes_the_traffic_away() -> None:
    night = Night()
    night.pass_(CLOSES + 10)
    night.cluster.scale(CANARY, 0)
    assert len(night.look(CLOSES + 10 + 2 * LEASE_SECONDS).ended) == 1
    assert night.cluster.weights() == AS_FOUND


def test_where_the_plan_goes_back_then_nobody_observes_on_and_nobody_needs_to_drive() -> None:
    night = Night("rollback")
    observer = night.step.observer()
    observer.observe(CLOSES - 1)
    with pytest.raises(WindowClosed, match="goes back"):
        observer.observe(CLOSES)
    assert night.next_move_by is not None
    assert night.next_move_by <= CLOSES
    assert len(night.look(CLOSES + night.abandon + 1).ended) == 1
    assert night.cluster.weights() == AS_FOUND


@pytest.mark.parametrize(
    ("at_window_end", "leaves"), [("stay", None), ("finish", None), ("rollback", CLOSES)]
)
def test_a_claim_says_when_a_rollout_leaves_because_its_window_closes(
    at_window_end: str, leaves: float | None
) -> None:
    """So that whoever ends it then does not hold that against the version."""
    night = Night(at_window_end)
    night.pass_(START + 100)
    night.raise_(START + 150)
    [claim] = night.traffic.claims()
    assert claim.leave_by == leaves


@pytest.mark.parametrize("resumed", [True, False])
def test_a_pause_puts_the_end_of_the_window_off_for_nobody(resumed: bool) -> None:
    """Whoever is to go back then may have died: a guardian does it, as the rollout itself would have."""
    night = Night("rollback")
    night.pass_(START + 100)
    night.raise_(START + 150)
    wheel = Control(night.cluster, night.step.run.frozen.targets, night.step.run.frozen.token)
    wheel.give("pause", "anna", "lunch")
    if resumed:
        night.now = CLOSES - 5
        wheel.give("resume", "anna", "back")
    assert night.look(CLOSES + night.abandon - 1).ended == ()
    [ended] = night.look(CLOSES + night.abandon + 1).ended
    assert ended.why == "nobody drove it any more: its next move was due 5m1s ago"
    assert night.cluster.weights() == AS_FOUND


def test_what_is_paused_and_may_stay_is_paused_over_the_end_of_its_window() -> None:
    night = Night()
    night.pass_(START + 100)
    night.raise_(START + 150)
    frozen = night.step.run.frozen
    Control(night.cluster, frozen.targets, frozen.token).give("pause", "anna", "lunch")
    assert night.look(OPENS + 10 * night.abandon).ended == ()
