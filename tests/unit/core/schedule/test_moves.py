"""What the end of a window means for a rollout, and whether it will finish before."""

from __future__ import annotations

import math

import pytest

from inference_rollouts.core.errors import WindowClosed
from inference_rollouts.core.schedule.moves import leave_by, next_raise, require_open, require_stay
from inference_rollouts.core.schedule.outlook import Pace, course, outlook
from tests.support.calendars import NIGHTS, at, blackout, calendar

HOUR = 3600.0
NIGHT, DAY = at("2026-11-26 23:00"), at("2026-11-27 12:00")
OPENS = at("2026-11-27 22:00")
NEVER = [blackout("2026-01-01", "2029-01-01")]
QUICK = Pace(least=(HOUR, HOUR), most=(2 * HOUR, 2 * HOUR), preparation=HOUR)
SLOW = Pace(least=(3 * HOUR, 7 * HOUR), most=(9 * HOUR, 9 * HOUR), preparation=HOUR)


@pytest.mark.parametrize("at_end", ["stay", "finish", "rollback"])
def test_the_first_raise_waits_for_an_open_window_whatever_the_plan_says_of_its_end(at_end: str) -> None:
    nights = calendar(NIGHTS, at_window_end=at_end)
    assert next_raise(nights, 1, NIGHT) == NIGHT
    assert next_raise(nights, 1, DAY) == OPENS
    with pytest.raises(WindowClosed) as closed:
        require_open(nights, 1, DAY)
    assert closed.value.opens == OPENS


def test_a_later_raise_waits_goes_on_or_is_given_up() -> None:
    assert next_raise(calendar(NIGHTS), 2, DAY) == OPENS
    assert next_raise(calendar(NIGHTS, at_window_end="finish"), 2, DAY) == DAY
    with pytest.raises(WindowClosed) as closed:
        require_open(calendar(NIGHTS, at_window_end="rollback"), 2, DAY)
    assert closed.value.opens is None


def test_nothing_is_waited_for_that_does_not_come_within_a_year() -> None:
    with pytest.raises(WindowClosed, match="within a year") as closed:
        require_open(calendar(NIGHTS, blackouts=NEVER), 2, NIGHT)
    assert closed.value.opens is None


def test_only_a_plan_that_goes_back_has_to_leave() -> None:
    back = calendar(NIGHTS, at_window_end="rollback")
    assert leave_by(back, NIGHT) == at("2026-11-27 06:00")
    assert leave_by(back, DAY) == DAY
    require_stay(back, at("2026-11-27 05:59"))
    with pytest.raises(WindowClosed):
        require_stay(back, at("2026-11-27 06:00"))
    for at_end in ("stay", "finish"):
        assert leave_by(calendar(NIGHTS, at_window_end=at_end), DAY) == math.inf
    assert leave_by(calendar(NIGHTS, at_window_end="rollback", override="an incident"), DAY) == math.inf


def test_a_course_waits_over_the_day() -> None:
    slow = course(calendar(NIGHTS), (8 * HOUR, HOUR), NIGHT)
    assert slow.raises == (NIGHT, OPENS)
    assert slow.done == OPENS + HOUR
    through = course(calendar(NIGHTS, at_window_end="finish"), (8 * HOUR, HOUR), NIGHT)
    assert through.raises == (NIGHT, NIGHT + 8 * HOUR)


def test_where_there_is_time_or_nothing_restricts_it_nothing_is_said() -> None:
    assert outlook(calendar(NIGHTS), QUICK, NIGHT) == []
    assert outlook(calendar(), SLOW, NIGHT) == []


def test_a_rollout_that_begins_before_its_window_is_told_when_it_opens() -> None:
    [waits] = outlook(calendar(NIGHTS), QUICK, DAY)
    assert waits == "No weight is raised before Fri 2026-11-27 22:00 Europe/Berlin (2026-11-27 21:00Z)."


def test_one_that_may_take_longer_than_its_window_is_warned_with_the_latest_start() -> None:
    [may] = outlook(calendar(NIGHTS), QUICK, at("2026-11-27 02:00"))
    assert may.startswith("It may not be over when the window closes at Fri 2026-11-27 06:00 Europe/Berlin")
    assert "takes 2h by its bake times alone, and 4h at most" in may
    assert "The latest first raise for it is at Fri 2026-11-27 04:00 Europe/Berlin" in may


@pytest.mark.parametrize(
    ("at_end", "then", "over"),
    [
        ("stay", "keeps its share until the next opening", "Sat 2026-11-28 02:00"),
        ("finish", "goes on", "Fri 2026-11-27 11:00"),
    ],
)
def test_one_that_will_take_longer_is_told_what_becomes_of_it(at_end: str, then: str, over: str) -> None:
    pace = Pace(least=(8 * HOUR, 3 * HOUR, HOUR), most=(9 * HOUR, 9 * HOUR, 9 * HOUR), preparation=0.0)
    [will] = outlook(calendar(NIGHTS, at_window_end=at_end), pace, NIGHT)
    assert will.startswith("It will not be over when the window closes")
    assert then in will
    assert over in will


def test_one_that_would_go_back_in_any_case_is_refused_with_the_latest_start() -> None:
    back = calendar(NIGHTS, at_window_end="rollback")
    with pytest.raises(WindowClosed, match="before step 2 can have passed") as refused:
        outlook(back, QUICK, at("2026-11-27 04:30"))
    assert "In the window from Fri 2026-11-27 22:00 Europe/Berlin" in str(refused.value)
    assert "its first raise must come by Sat 2026-11-28 04:00 Europe/Berlin" in str(refused.value)
    with pytest.raises(WindowClosed, match="No window within a year is long enough"):
        outlook(back, SLOW, NIGHT)


@pytest.mark.parametrize("at_end", ["stay", "finish", "rollback"])
def test_one_whose_window_never_opens_is_refused(at_end: str) -> None:
    with pytest.raises(WindowClosed, match="within a year"):
        outlook(calendar(NIGHTS, blackouts=NEVER, at_window_end=at_end), QUICK, NIGHT)
