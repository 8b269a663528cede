"""A run's calendar: the plan's own windows and blackouts, and those that plans share."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inference_rollouts.cli import main
from inference_rollouts.core.errors import PlanInvalid, WindowClosed
from inference_rollouts.core.schedule.windows import Blackout
from inference_rollouts.preflight.calendar import calendar_of, check
from tests.support.calendars import NIGHTS, at, blackout
from tests.support.include import copy_of_include, edit
from tests.support.plans import llm_plan

DAYS = blackout("2026-12-24", "2026-12-26")
FOR_YEARS = blackout("2020-01-01", "2999-01-01")


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a calendar `holidays`."""
    folder = copy_of_include(tmp_path, monkeypatch)
    (folder / "calendars").mkdir()
    (folder / "calendars" / "holidays.yaml").write_text(yaml.safe_dump([DAYS]))
    return folder


def test_a_shared_calendar_adds_its_blackouts(include: Path) -> None:
    plan = llm_plan(windows=[NIGHTS], blackouts=[FOR_YEARS], calendars=["holidays"], at_window_end="finish")
    calendar = calendar_of(plan)
    assert calendar.windows == plan.windows
    assert calendar.blackouts == tuple(map(Blackout.model_validate, (FOR_YEARS, DAYS)))
    assert calendar.at_window_end == "finish"


def test_a_calendar_that_is_not_there_or_not_valid_is_refused(include: Path) -> None:
    with pytest.raises(PlanInvalid, match="no calendar 'vacations'; known are holidays"):
        calendar_of(llm_plan(calendars=["vacations"]))
    for text in ("[{from: 2026-12-24}]", "{", "- 3"):
        (include / "calendars" / "holidays.yaml").write_text(text)
        with pytest.raises(PlanInvalid, match=r"The calendar holidays.yaml is invalid: ") as refused:
            calendar_of(llm_plan(calendars=["holidays"]))
        assert "\n" not in str(refused.value)


def test_a_run_that_cannot_finish_is_refused_unless_a_person_overrides_that() -> None:
    plan = llm_plan(windows=[NIGHTS], blackouts=[FOR_YEARS])
    with pytest.raises(WindowClosed):
        check(plan, calendar_of(plan), at("2026-11-26 23:00"))
    check(plan, calendar_of(plan, "an incident"), at("2026-11-26 23:00"))


def test_the_command_line_shows_the_next_openings(include: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = include / "rollouts" / "llm.yaml"
    assert main(["windows", str(path)]) == 0
    assert capsys.readouterr().out.startswith("any time")
    edit(path, windows=[NIGHTS])
    assert main(["windows", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.count(" to ") == 5
    assert "Europe/Berlin (" in shown
    edit(path, blackouts=[FOR_YEARS])
    assert main(["windows", str(path)]) == 2
    assert "within a year" in capsys.readouterr().err
