"""What would change a verdict, in sentences."""

from __future__ import annotations

from functools import reduce

from inference_rollouts.core.judging.judge import Carried, absorb, begin, conclude
from inference_rollouts.core.reporting.turning import turning_points
from tests.support.judging import HEALTHY, failing, policy, quiet_windows, small_set, step


def told(windows: int, bake: float) -> list[str]:
    sums = reduce(absorb, quiet_windows(windows), begin(policy(), small_set(), step(bake=bake), Carried()))
    return turning_points(sums, conclude(sums, HEALTHY, 10.0 * windows))


def test_bake_time_is_told_with_what_there_is_of_it() -> None:
    assert told(2, 25.0)[0] == "To pass: all of 25 s bake time, 20 s so far."


def test_an_alarm_is_some_failures_away() -> None:
    assert [each.partition(":")[0] for each in told(2, 25.0)[-2:]] == ["To alarm", "To alarm"]
    assert "more failed requests of the canary within 10 s would be enough" in told(2, 25.0)[-1]


def test_nothing_would_change_a_verdict_that_is_final() -> None:
    sums = reduce(absorb, [failing(0.0, 100, 0)], begin(policy(), small_set(), step(), Carried()))
    assert turning_points(sums, conclude(sums, HEALTHY, 10.0)) == []
