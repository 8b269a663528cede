"""The observations of many, counted and judged in one go: what a window costs is mostly to begin with it."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.judging.judge import Judgement, absorb, absorb_all
from inference_rollouts.rollout.step_observer import Begun, StepObserver


def judge_alone(observer: StepObserver, begun: Begun) -> Judgement:
    """Count what one has got, absorb it, and judge."""
    if (window := observer.count(begun)) is not None:
        observer.sums = absorb(observer.sums, window)
    return observer.judge(begun)


def judge_all(observations: Sequence[tuple[StepObserver, Begun]]) -> list[Judgement | Exception]:
    """Count what each has got, absorb it, and judge. What went wrong with one is its own, in its place."""
    outcomes: dict[int, Judgement | Exception] = {}
    counted = []
    for place, (observer, begun) in enumerate(observations):
        try:
            if (window := observer.count(begun)) is not None:
                counted.append((observer, window))
        except Exception as error:
            outcomes[place] = error
    after = absorb_all([(observer.sums, window) for observer, window in counted])
    for (observer, _), sums in zip(counted, after, strict=True):
        observer.sums = sums
    for place, (observer, begun) in enumerate(observations):
        if place not in outcomes:
            try:
                outcomes[place] = observer.judge(begun)
            except Exception as error:
                outcomes[place] = error
    return [outcomes[place] for place in range(len(observations))]
