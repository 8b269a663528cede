"""A rollout starts at its time, or waits for the next one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from inference_rollouts.core.schedule.schedule import Schedule
from tests.support.calendars import BERLIN, at

NIGHTLY = Schedule.model_validate({"cron": "0 22 * * *", "timezone": BERLIN})
DUE = at("2026-11-26 22:00")


def test_a_run_may_be_late_by_an_hour() -> None:
    assert NIGHTLY.too_late(DUE, DUE) == ""
    assert NIGHTLY.too_late(DUE, DUE + 3600) == ""


def test_a_later_run_is_told_when_it_was_due() -> None:
    why = NIGHTLY.too_late(DUE, at("2026-11-27 10:00"))
    assert (
        "was due at Thu 2026-11-26 22:00 Europe/Berlin (2026-11-26 21:00Z), and may start at most 1h late"
        in why
    )


def test_how_late_it_may_be_is_the_plans_choice() -> None:
    patient = NIGHTLY.model_copy(update={"start_within": 7200.0})
    assert patient.too_late(DUE, DUE + 7200) == ""
    assert patient.too_late(DUE, DUE + 7201)


@pytest.mark.parametrize("zone", [{}, {"timezone": None}, {"timezone": ""}])
def test_a_cron_without_a_zone_is_refused_in_one_sentence(zone: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"add `timezone: UTC`, which held without one until now"):
        Schedule.model_validate({"cron": "0 22 * * *", **zone})
