"""Windows and blackouts by the clocks of their zones, also in the nights in which clocks jump."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from inference_rollouts.core.schedule.calendar import Calendar
from inference_rollouts.core.schedule.outlook import openings
from inference_rollouts.core.schedule.windows import Blackout, Span, Window
from inference_rollouts.core.schedule.zones import local_and_utc
from tests.support.calendars import NIGHTS, at, blackout, calendar, window


def spans(value: Calendar, moment: float, number: int = 3) -> list[Span]:
    return [span for span, _ in zip(value.spans(moment), range(number), strict=False)]


def test_a_window_may_last_over_midnight_and_belongs_to_the_day_on_which_it_opens() -> None:
    """2026-11-27 is a Friday."""
    nights = calendar(NIGHTS | {"days": ["mon-fri"]})
    assert spans(nights, at("2026-11-27 12:00"), 2) == [
        Span(at("2026-11-27 22:00"), at("2026-11-28 06:00")),
        Span(at("2026-11-30 22:00"), at("2026-12-01 06:00")),
    ]
    assert nights.is_open(at("2026-11-28 05:59"))
    assert not nights.is_open(at("2026-11-28 06:00"))
    assert not nights.is_open(at("2026-11-28 22:00"))


def test_days_may_be_several_ranges_and_go_over_the_end_of_the_week() -> None:
    days = calendar(window("00:00", "24:00", days=["sat-mon", "wed"]))
    assert spans(days, at("2026-11-26 00:00"), 2) == [
        Span(at("2026-11-28 00:00"), at("2026-12-01 00:00")),
        Span(at("2026-12-02 00:00"), at("2026-12-03 00:00")),
    ]


@pytest.mark.parametrize(
    ("opens", "closes", "span"),
    [
        ("01:00", "04:00", ("2026-03-29 01:00", "2026-03-29 04:00")),
        ("02:30", "04:00", ("2026-03-29 03:00", "2026-03-29 04:00")),
        ("01:00", "02:30", ("2026-03-29 01:00", "2026-03-29 03:00")),
    ],
)
def test_a_time_that_clocks_skip_is_when_they_jump(opens: str, closes: str, span: tuple[str, str]) -> None:
    """On 2026-03-29 clocks in Berlin go from 02:00 to 03:00."""
    [found] = spans(calendar(window(opens, closes)), at("2026-03-29 00:00"), 1)
    assert found == Span(at(span[0]), at(span[1]))


def test_a_window_that_clocks_skip_does_not_open() -> None:
    [found] = spans(calendar(window("02:10", "02:50")), at("2026-03-29 00:00"), 1)
    assert found.opens == at("2026-03-30 02:10")


def test_an_hour_that_clocks_show_twice_is_in_no_window_that_begins_or_ends_in_it() -> None:
    """On 2026-10-25 clocks in Berlin go from 03:00 back to 02:00."""
    [late] = spans(calendar(window("02:30", "06:00")), at("2026-10-25 00:00"), 1)
    assert late == Span(at("2026-10-25 02:30", fold=1), at("2026-10-25 06:00"))
    [early] = spans(calendar(window("01:00", "02:30")), at("2026-10-25 00:00"), 1)
    assert early == Span(at("2026-10-25 01:00"), at("2026-10-25 02:30"))
    [night] = spans(calendar(NIGHTS), at("2026-10-24 12:00"), 1)
    assert night.closes - night.opens == 9 * 3600


def test_a_blackout_takes_whole_days_of_its_zone_out_of_all_windows() -> None:
    some = calendar(NIGHTS, blackouts=[blackout("2026-12-24", "2026-12-26")])
    assert spans(some, at("2026-12-23 12:00"), 2) == [
        Span(at("2026-12-23 22:00"), at("2026-12-24 00:00")),
        Span(at("2026-12-27 00:00"), at("2026-12-27 06:00")),
    ]


def test_without_windows_every_moment_is_open_but_for_blackouts() -> None:
    free = Calendar()
    assert not free.restricts
    assert spans(free, 0.0) == [Span(-math.inf, math.inf)]
    days = calendar(blackouts=[blackout("2026-12-24", "2026-12-26")])
    assert days.is_open(at("2026-12-23 23:59"))
    assert not days.is_open(at("2026-12-24 00:00"))
    [now] = spans(days, at("2026-12-27 00:00"))
    assert now.closes == math.inf


def test_windows_of_several_zones_are_one_time_where_they_meet() -> None:
    both = calendar(window("22:00", "02:00"), window("20:00", "23:00", "America/New_York"))
    [night] = spans(both, at("2026-11-26 12:00"), 1)
    assert night == Span(at("2026-11-26 22:00"), at("2026-11-26 23:00", "America/New_York"))


def test_where_nothing_opens_within_a_year_there_is_no_opening() -> None:
    assert (
        calendar(NIGHTS, blackouts=[blackout("2026-01-01", "2029-01-01")]).span(at("2026-11-26 22:00"))
        is None
    )


def test_with_an_override_nothing_is_closed() -> None:
    assert calendar(NIGHTS, override="an incident").is_open(at("2026-11-26 12:00"))


def test_openings_are_shown_in_local_time_and_utc() -> None:
    [first, *more] = openings(calendar(NIGHTS), at("2026-11-26 23:00"))
    assert first == (
        "Thu 2026-11-26 23:00 Europe/Berlin (2026-11-26 22:00Z) to "
        "Fri 2026-11-27 06:00 Europe/Berlin (2026-11-27 05:00Z)"
    )
    assert len(more) == 4
    assert local_and_utc(0.0, "Asia/Tokyo") == "Thu 1970-01-01 09:00 Asia/Tokyo (1970-01-01 00:00Z)"


def test_a_clock_that_yaml_takes_for_a_number_is_understood() -> None:
    value = yaml.safe_load("{from: 22:00, to: 06:00, timezone: UTC}")
    assert value["from"] == 1320
    assert Window.model_validate(value) == Window.model_validate(window("22:00", "06:00", "UTC"))


def test_windows_survive_json() -> None:
    some = calendar(NIGHTS, blackouts=[blackout("2026-12-24", "2026-12-26")], at_window_end="finish")
    assert Calendar.model_validate(json.loads(json.dumps(some.model_dump(mode="json")))) == some


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (window("22:00", "22:00"), "a whole day is from 00:00 to 24:00"),
        (window("25:00", "06:00"), "pattern"),
        (window("22:00", "06:00", "Mars/Olympus"), "is not a time zone"),
        (window("22:00", "06:00", days=["monday"]), "pattern"),
        (window("22:00", "06:00", days=[]), "at least 1"),
        ({"from": "22:00", "to": "06:00"}, "timezone"),
        ({"from": -1, "to": "06:00", "timezone": "UTC"}, "from"),
    ],
)
def test_windows_that_mean_nothing_are_refused(value: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Window.model_validate(value)


@pytest.mark.parametrize("last", ["2026-12-01", "9999-12-31"])
def test_blackouts_end_after_they_begin_and_some_day(last: str) -> None:
    with pytest.raises(ValidationError):
        Blackout.model_validate(blackout("2026-12-24", last))
