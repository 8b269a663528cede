"""Observations that are judged together end each for itself."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from inference_rollouts.core.judging.judge import Judgement, absorb_all
from inference_rollouts.core.serving.capacity import RoomAhead
from inference_rollouts.rollout import step_observer, together
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.rollout.together import judge_all
from tests.support.steps import Step

SECONDS = {"interval": "1s", "margin": None}


def observers(count: int) -> list[tuple[Step, StepObserver]]:
    """Each has seen the first tick."""
    steps = [Step(analysis=SECONDS, metrics="vllm") for _ in range(count)]
    return [(step, step.observer()) for step in steps]


def judged(several: list[tuple[Step, StepObserver]], seconds: float) -> list[Judgement | Exception]:
    begun = [(observer, observer.begin(step.since + seconds)) for step, observer in several]
    return judge_all(begun)


def test_together_they_are_judged_as_alone() -> None:
    several = observers(3)
    for seconds in (0.0, 1.0, 2.0):
        outcomes = judged(several, seconds)
    assert all(isinstance(each, Judgement) for each in outcomes)
    assert [observer.sums.seconds for _, observer in several] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("part", ["count", "judge"])
def test_what_goes_wrong_with_one_is_its_own(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    several = observers(3)
    judged(several, 0.0)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(several[1][1], part, broken)
    outcomes = judged(several, 1.0)
    assert [isinstance(each, Judgement) for each in outcomes] == [True, False, True]
    assert str(outcomes[1]) == "broken"


def test_judging_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for an answer about room that a cluster which hangs does not give."""
    monkeypatch.setattr(step_observer, "SLOW_STORE", 600.0)
    step = Step(analysis=SECONDS, metrics="vllm", bake="1s")
    thinks, observer = threading.Event(), step.observer()
    monkeypatch.setattr(type(step.run.kind), "room_ahead", lambda *_: thinks.wait(60) and RoomAhead())
    observer.observe(step.since)
    begun = observer.begin(step.since + 1.0)
    asked = observer.asked(begun)
    next(asked).result(60)
    assert not next(asked).done(), "about room"
    unknown = replace(begun, cluster=None)
    with ThreadPoolExecutor(1) as threads:
        try:
            assert threads.submit(judge_all, [(observer, unknown)]).result(60)
        finally:
            thinks.set()


def test_a_window_that_cannot_be_absorbed_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    several = observers(3)
    judged(several, 0.0)
    spoilt = several[1][1]

    def absorbed(windows: list[tuple[Any, Any]]) -> Any:
        if any(sums is spoilt.sums for sums, _ in windows):
            raise RuntimeError("broken")
        return absorb_all(windows)

    monkeypatch.setattr(together, "absorb_all", absorbed)
    outcomes = judged(several, 1.0)
    assert [isinstance(each, Judgement) for each in outcomes] == [True, False, True]
    assert [observer.sums.seconds for _, observer in several] == [1.0, 0.0, 1.0]
