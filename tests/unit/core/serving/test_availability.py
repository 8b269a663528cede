"""Whether a pool can take traffic now is one answer, whoever asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.serving.availability import Availability, Picker, availability

DEAD_CLOSED = Picker("epp", True, 0, True)
DEAD_OPEN = Picker("epp", True, 0, False)
ALIVE = Picker("epp", True, 1, True)


@pytest.mark.parametrize("picker", [None, ALIVE])
def test_ready_pods_take_traffic(picker: Picker | None) -> None:
    assert availability("old", 3, picker) == Availability(True, 3)
    assert availability("old", 3, picker, needed=3).available


@pytest.mark.parametrize("picker", [None, ALIVE, DEAD_OPEN, DEAD_CLOSED])
def test_without_ready_pods_nothing_is_taken(picker: Picker | None) -> None:
    assert availability("old", 0, picker) == Availability(False, 0, "old has no ready pods.")


def test_a_dead_picker_that_fails_closed_takes_nothing_however_many_pods_are_ready() -> None:
    answer = availability("old", 3, DEAD_CLOSED)
    assert (answer.available, answer.pods) == (False, 3)
    assert answer.sentence == (
        "The endpoint picker epp of old has no ready pod, and its failure mode FailClose drops all requests."
    )


def test_a_dead_picker_that_fails_open_takes_traffic_with_a_warning() -> None:
    answer = availability("old", 3, DEAD_OPEN)
    assert answer.available
    assert "so requests reach any pod" in answer.sentence


def test_a_picker_without_service_is_a_dead_one() -> None:
    answer = availability("old", 3, Picker("epp", False, 0, True))
    assert not answer.available
    assert "The endpoint picker epp of old has no ready pod (there is no Service epp), and" in answer.sentence


def test_fewer_pods_than_the_traffic_needs_cannot_take_it() -> None:
    answer = availability("old", 1, DEAD_OPEN, needed=3)
    assert not answer.available
    assert answer.sentence == "old has 1 ready pod, 3 needed for the traffic."


pickers = st.none() | st.builds(Picker, st.just("epp"), st.booleans(), st.integers(0, 3), st.booleans())


@given(st.integers(0, 9), pickers, st.integers(1, 9))
def test_what_cannot_take_traffic_says_why(pods: int, picker: Picker | None, needed: int) -> None:
    answer = availability("old", pods, picker, needed)
    assert answer.pods == pods
    assert answer.available or answer.sentence
    assert not answer.available or pods >= needed
    if picker and not picker.ready and picker.fail_close:
        assert not answer.available
