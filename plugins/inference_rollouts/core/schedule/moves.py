"""What a calendar allows a rollout: each raise at its time, and the way back at any."""

from __future__ import annotations

import math

from inference_rollouts.core.errors import WindowClosed
from inference_rollouts.core.schedule.calendar import AtWindowEnd, Calendar
from inference_rollouts.core.schedule.zones import local_and_utc


def next_raise(calendar: Calendar, step: int, now: float) -> float:
    """The first moment from `now` on at which `step` (from 1) may be raised.

    Raises WindowClosed where there is none: the plan goes back at the end of a window, or none opens within a
    year.
    """
    if calendar.at_window_end is AtWindowEnd.FINISH and step > 1:
        return now
    span = calendar.span(now)
    if span is None:
        raise WindowClosed("No window opens within a year, so no weight is raised.")
    if span.opens > now and calendar.at_window_end is AtWindowEnd.ROLLBACK and step > 1:
        raise WindowClosed("The window has closed before all steps had passed, and this plan goes back then.")
    return max(now, span.opens)


def require_open(calendar: Calendar, step: int, now: float) -> None:
    """Raises WindowClosed, with the next opening if it waits for one, when `step` may not be raised now."""
    if (opens := next_raise(calendar, step, now)) > now:
        raise WindowClosed(
            f"Step {step} waits for the window that opens at {local_and_utc(opens, calendar.zone)}.", opens
        )


def leave_by(calendar: Calendar, now: float) -> float:
    """By when a rollout that has traffic at `now` must be over; infinite where it may stay."""
    if calendar.at_window_end is not AtWindowEnd.ROLLBACK:
        return math.inf
    span = calendar.span(now)
    return span.closes if span and span.opens <= now else now


def require_stay(calendar: Calendar, now: float) -> None:
    """Raises WindowClosed when a rollout that has traffic must go back, because its window is over."""
    if leave_by(calendar, now) <= now:
        raise WindowClosed("The window has closed before the rollout was over, and this plan goes back then.")
