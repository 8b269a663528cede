"""Waves: what comes after others starts when they have ended well, the same night."""

from __future__ import annotations

from inference_rollouts.core.schedule.waves import waits_for

HOUR = 3600.0


def test_it_starts_when_all_before_it_have_ended_well() -> None:
    assert waits_for(("a", "b"), {"a": 0.0, "b": HOUR}, 8 * HOUR, 2 * HOUR) == ""
    assert waits_for((), {}, 8 * HOUR, 0.0) == ""


def test_it_names_whom_it_waits_for() -> None:
    assert "It comes after b, of which no rollout" in waits_for(("a", "b"), {"a": 0.0}, 8 * HOUR, HOUR)
    assert "last 8 h" in waits_for(("a",), {}, 8 * HOUR, HOUR)


def test_what_ended_well_the_night_before_does_not_count_nor_does_a_night_that_lasted_till_noon() -> None:
    assert waits_for(("a",), {"a": 0.0}, 8 * HOUR, 24 * HOUR)
    assert waits_for(("a",), {"a": 0.0}, 8 * HOUR, 14 * HOUR)
    assert not waits_for(("a",), {"a": 0.0}, 8 * HOUR, 8 * HOUR)
