"""Windows of many rollouts absorbed in one go give each, to the last bit, what it gets alone."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import count

import numpy as np
import pytest

from inference_rollouts.core.judging.judge import (
    Carried,
    Evidence,
    Policy,
    StepContext,
    absorb,
    absorb_all,
    begin,
    evidence_of_all,
)
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.sums import Sums
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts, WindowCounts
from tests.support.judging import small_set

STEP = StepContext(index=1, steps=2, weight=50, started_at=1000, bake=600, whole=1200, last_compared=True)


def window(metric_set: MetricSet, number: int, start: float, most: int) -> WindowCounts:
    """Made up: of up to `most` events an arm, of which some or many are bad."""
    rng = np.random.default_rng(number)
    counts = {}
    for metric in metric_set.metrics:
        cells = len(metric.thresholds)
        arms = []
        for _ in range(2):
            n = int(rng.integers(0, most))
            bad = sorted((int(each) for each in rng.integers(0, n // 3 + 1, cells)), reverse=True)
            arms.append(ArmCounts(n=n, bad=tuple(bad), pods=2))
        none = (0.0,) * cells
        zeros = (0,) * cells
        counts[metric.name] = Counts(
            canary=arms[0],
            stable=arms[1],
            chi2=none,
            df=zeros,
            lasting_chi2=none,
            lasting_df=zeros,
            canary_chi2=none,
            canary_df=zeros,
        )
    return WindowCounts(start=start, end=start + 5, counts=counts)


def same(one: Sums, other: Sums) -> bool:
    """To the last bit."""
    states = one.running, other.running
    pairs = [tuple(getattr(state, each.name) for state in states) for each in fields(one.running)]
    known = [
        tuple(getattr(state.dispersion, each.name) for state in states)
        for each in fields(one.running.dispersion)
    ]
    arrays = [pair for pair in (*pairs, *known) if isinstance(pair[0], np.ndarray)]
    return (
        all(np.array_equal(*pair) for pair in arrays)
        and np.array_equal(one.n, other.n)
        and replace(one, running=other.running, n=other.n, bad=other.bad).seconds == other.seconds
    )


def agree(one: Evidence, other: Evidence) -> bool:
    return np.array_equal(one.log_e, other.log_e) and one.log_good == other.log_good


@pytest.mark.parametrize("rollouts", [1, 2, 17])
def test_together_or_alone_the_sums_are_the_same(rollouts: int) -> None:
    """Of few events and of very many, compared and not, by rules of their own."""
    numbers = count()
    rules_of_each = [(Policy(), small_set(tolerance=0.1 * place)) for place in range(3)]
    rules = [rules_of_each[place % 3] for place in range(rollouts)]
    steps = [STEP.model_copy(update={"weight": 100 if place % 5 == 4 else 50}) for place in range(rollouts)]
    together = [begin(*each, step, Carried()) for each, step in zip(rules, steps, strict=True)]
    alone = list(together)
    for place in range(30):
        windows = [
            window(each, next(numbers), 1000 + 5 * place, most=10 ** (1 + rollout % 5))
            for rollout, (_, each) in enumerate(rules)
        ]
        together = absorb_all(list(zip(together, windows, strict=True)))
        alone = [absorb(sums, each) for sums, each in zip(alone, windows, strict=True)]
        assert all(same(*pair) for pair in zip(together, alone, strict=True))
        found = evidence_of_all(together)
        assert all(agree(each, evidence_of_all([sums])[0]) for each, sums in zip(found, alone, strict=True))


def test_nothing_together_is_nothing() -> None:
    assert absorb_all([]) == []
