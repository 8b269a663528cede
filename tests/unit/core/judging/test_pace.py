"""Whoever watches too much says so, and says no such thing of a late observation or two."""

from __future__ import annotations

from inference_rollouts.core.judging.pace import Pace


def notes(*at: float) -> tuple[str, ...]:
    pace = Pace(5.0)
    for each in at:
        pace.observed(each)
    return pace.notes


def test_a_step_that_is_observed_far_less_often_says_so() -> None:
    assert notes(0, 5, 10, 15) == ()
    assert notes(0, 12, 24) == ()
    assert notes(0, 5, 10, 30) == ()
    [sentence] = notes(0, 5, 17, 29, 41)
    assert sentence == "It is observed every 12 s instead of 5: whoever watches has too much to do."
    assert notes(0, 12, 24, 36, 41, 46, 51) == ()
