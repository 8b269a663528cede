"""Who comes late takes of what a process can spare, and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.rollout.spare import Spare
from tests.support.steps import Step


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_what_was_taken_is_gone_and_comes_back_with_time() -> None:
    clock = Clock()
    spare = Spare(100, 10, clock)
    assert [spare.take(80), spare.take(80), spare.take(20)] == [True, False, True]
    clock.now += 2
    assert not spare.take(21)
    assert spare.take(20)
    clock.now += 7000
    assert not spare.take(101)
    assert spare.take(100)


def test_who_had_to_wait_before_they_ask_make_no_time_pass_again() -> None:
    """Half of them have read the time when they were due, and got a thread two seconds later."""
    step, clock = Step(analysis={"interval": "1s", "margin": None}, metrics="vllm"), Clock()
    spare = Spare(200, 100, clock)
    observers = [step.observer(spare) for _ in range(6)]
    for place, observer in enumerate(observers):
        observer.observe(step.since + 100 + 2 * (place % 2))
    asked = [observer._counting.ticks for observer in observers]
    assert sum(ticks for ticks in asked if ticks > 3) <= 200


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0, 5)), max_size=60))
def test_all_together_never_take_more_than_there_is(taking: list[tuple[int, float]]) -> None:
    clock, taken = Clock(), 0
    spare, begun = Spare(120, 50, clock), clock.now
    for ticks, later in taking:
        clock.now += later
        taken += ticks * spare.take(ticks)
        assert taken <= 120 + 50 * (clock.now - begun) + 1e-6
