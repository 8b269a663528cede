"""The note of a run: people's words are never lost, and Airflow's limit is kept."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.reporting.note import LIMIT, MARK, RULE, note_with, shortened

REPORT = "## a -> b: promoted\n\nAll good."
LONG = "## a -> b: promoted\n\n" + "\n".join(f"| {n} | 5 % | advance | {'word ' * 60}|" for n in range(4))


@pytest.mark.parametrize(
    ("note", "by_person", "expected"),
    [
        (None, False, f"{MARK}{REPORT}"),
        ("Mine.", True, f"Mine.{RULE}{MARK}{REPORT}"),
        ("From a command.", False, f"From a command.{RULE}{MARK}{REPORT}"),
        (f"{MARK}## a -> b: rolled back", False, f"{MARK}{REPORT}"),
        (f"Mine.{RULE}{MARK}## old", False, f"Mine.{RULE}{MARK}{REPORT}"),
        (f"{MARK}## old\n\nMine.", True, f"{MARK}## old\n\nMine.{RULE}{MARK}{REPORT}"),
        (f"{MARK}## old\n\nMine.{RULE}{MARK}## old", False, f"{MARK}## old\n\nMine.{RULE}{MARK}{REPORT}"),
        (f"{MARK}{REPORT}", False, None),
        ("x" * LIMIT, True, None),
        ("x" * (LIMIT - 40), True, None),
    ],
)
def test_the_report_comes_after_what_people_wrote(
    note: str | None, by_person: bool, expected: str | None
) -> None:
    assert note_with(REPORT, note, by_person=by_person) == expected


@pytest.mark.parametrize("taken", range(0, LIMIT, 37))
def test_a_note_is_never_longer_than_airflow_keeps(taken: Any) -> None:
    new = note_with(LONG, "x" * taken, by_person=True)
    assert new is None or len(new) <= LIMIT
    assert new is None or new.startswith("x" * taken)


def test_what_is_too_long_loses_the_ends_of_its_longest_lines() -> None:
    lines = shortened(LONG, 500).splitlines()
    assert lines[0] == "## a -> b: promoted"
    assert len(lines) == 6
    assert all(line.endswith(" … |") for line in lines[2:])


def test_the_first_line_is_whole_as_long_as_there_is_room_for_it() -> None:
    first = (
        "**a -> b: rolled back** by the judge of step 1. "
        + "Why. " * 60
        + "Now the route is as it was found."
    )
    assert shortened(f"{first}\n\n{LONG}", 500).splitlines()[0] == first
    assert shortened(f"{first}\n\n{LONG}", 100) == f"{first[:98]} …"


def test_then_it_loses_lines_and_the_headline_last() -> None:
    assert shortened(LONG, 20) == "## a -> b: promoted\n"
    assert shortened(LONG, 10) == ""
