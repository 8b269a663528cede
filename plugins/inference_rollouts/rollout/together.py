"""The observations of many, counted and judged in one go: what a window costs is mostly to begin with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from inference_rollouts.core.judging.judge import Evidence, Judgement, absorb_all, evidence_of_all
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.rollout.step_observer import Begun, StepObserver

T = TypeVar("T")


def judge_all(observations: Sequence[tuple[StepObserver, Begun]]) -> list[Judgement | Exception]:
    """Count what each has got, absorb it, and judge. What went wrong with one is its own, in its place."""
    counted = [_tried(partial(observer.count, begun)) for observer, begun in observations]
    windows = {place: each for place, each in enumerate(counted) if isinstance(each, WindowCounts)}
    failed = {place: each for place, each in enumerate(counted) if isinstance(each, Exception)}
    pairs = {place: (observations[place][0], window) for place, window in windows.items()}
    if _tried(partial(_absorb, list(pairs.values()))):
        alone = {place: _tried(partial(_absorb, [pair])) for place, pair in pairs.items()}
        failed |= {place: each for place, each in alone.items() if each}
    going_on = {place: each for place, (each, _) in enumerate(observations) if place not in failed}
    found = _found(going_on)
    return [
        failed[place] if place in failed else _tried(partial(observer.judge, begun, found.get(place)))
        for place, (observer, begun) in enumerate(observations)
    ]


def _found(observers: Mapping[int, StepObserver]) -> dict[int, Evidence]:
    """The evidence of each; of none where it fails for one, and each then works out its own."""
    found = _tried(lambda: evidence_of_all([observer.sums for observer in observers.values()]))
    return {} if isinstance(found, Exception) else dict(zip(observers, found, strict=True))


def _absorb(counted: Sequence[tuple[StepObserver, WindowCounts]]) -> None:
    """All of them, or none."""
    after = absorb_all([(observer.sums, window) for observer, window in counted])
    for (observer, _), sums in zip(counted, after, strict=True):
        observer.sums = sums


def _tried(act: Callable[[], T]) -> T | Exception:
    try:
        return act()
    except Exception as error:
        return error
