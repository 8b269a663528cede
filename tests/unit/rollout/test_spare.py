"""Who comes late takes of what a process can spare, and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.rollout.spare import Spare


def test_what_was_taken_is_gone_and_comes_back_with_time() -> None:
    spare = Spare(100, pace=10)
    assert [spare.take(80, now=1000.0), spare.take(80, now=1000.0), spare.take(20, now=1000.0)] == [
        True,
        False,
        True,
    ]
    assert not spare.take(21, now=1002.0)
    assert spare.take(20, now=1002.0)
    assert not spare.take(101, now=9000.0)
    assert spare.take(100, now=9000.0)


def test_a_clock_that_falls_back_gives_nothing_and_takes_nothing() -> None:
    spare = Spare(100, pace=10)
    assert spare.take(90, now=1000.0)
    assert spare.take(10, now=500.0)
    assert spare.take(10, now=501.0)
    assert not spare.take(1, now=501.0)


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0, 5)), max_size=60))
def test_all_together_never_take_more_than_there_is(taking: list[tuple[int, float]]) -> None:
    spare, now, taken = Spare(120, pace=50), 0.0, 0
    for ticks, later in taking:
        now += later
        taken += ticks * spare.take(ticks, now)
        assert taken <= 120 + 50 * now + 1e-6
