"""The counts of many observers, absorbed in one go: what a window costs is mostly to begin with it."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.judging.judge import absorb_all
from inference_rollouts.rollout.step_observer import Begun, StepObserver


def count_all(observations: Sequence[tuple[StepObserver, Begun]]) -> list[Exception | None]:
    """Count what each has got, and absorb it. What went wrong with one is its own, and told in its place."""
    failed: list[Exception | None] = [None] * len(observations)
    counted = []
    for place, (observer, begun) in enumerate(observations):
        try:
            if (window := observer.count(begun)) is not None:
                counted.append((observer, window))
        except Exception as error:
            failed[place] = error
    after = absorb_all([(observer.sums, window) for observer, window in counted])
    for (observer, _), sums in zip(counted, after, strict=True):
        observer.sums = sums
    return failed
