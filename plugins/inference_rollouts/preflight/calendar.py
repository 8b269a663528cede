"""The times at which a run may move traffic, and whether it can finish in them."""

from __future__ import annotations

import logging

from inference_rollouts.clients.include import load_blackouts
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.run.pace import pace_of
from inference_rollouts.core.schedule.calendar import Calendar
from inference_rollouts.core.schedule.outlook import openings, outlook

log = logging.getLogger(__name__)


def calendar_of(plan: Plan, override: str = "") -> Calendar:
    """A plan's windows and blackouts, those of shared calendars too. Raises PlanInvalid where one is missing.

    `override` is a person's reason for a run to which they do not apply.
    """
    shared = (blackout for name in plan.calendars for blackout in load_blackouts(name))
    return Calendar(
        windows=plan.windows,
        blackouts=(*plan.blackouts, *shared),
        at_window_end=plan.at_window_end,
        override=override,
    )


def check(plan: Plan, calendar: Calendar, now: float) -> None:
    """Say when weights may be raised. Raises WindowClosed when a run that begins now cannot finish."""
    if calendar.override:
        log.warning("windows and blackouts do not hold for this run: %s", calendar.override)
    elif calendar.restricts:
        log.info("weights are raised only from %s", "; from ".join(openings(calendar, now)))
    for sentence in outlook(calendar, pace_of(plan), now):
        log.warning("%s", sentence)
