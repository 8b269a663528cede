"""The running sums of a judgement: each window is folded in once, in order.

For every test and alternative the sums keeps W = ln sum_k gamma_k exp L_k over the steps k begun so far,
where L_k is the discounted log likelihood ratio of all windows since step k began. A new step adds its
gamma_k to exp W, a window adds to W itself: that is the alarm's whole state, however long the rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.evidence import Array
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.overdispersion import ASSUMED_KAPPA, Dispersion, kept, observe, resumed
from inference_rollouts.core.judging.overdispersion import kappa as estimated
from inference_rollouts.core.judging.policy import Policy, StepContext
from inference_rollouts.core.judging.rules import Rules, rules_of
from inference_rollouts.core.values import Value

Kappas = tuple[Array, Array]
"""Kappa of this window's comparisons, and of its tests of one arm's share."""


class Carried(Value):
    """The evidence of the steps so far, for the next step's judge; `Carried()` begins a rollout.

    `alarm` is W of every test and alternative (None: minus infinity), `dispersion` the sums behind kappa. Of
    use only with the same policy and metric set.
    """

    steps: int = 0
    alarm: tuple[tuple[float | None, ...], ...] = ()
    dispersion: dict[str, tuple[float, ...]] = Field(default={})


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What all windows of a step, and the steps before, amount to.

    `n` and `bad` are totals of this step: (canary, stable) x cells. `good` is the state of the promotion's
    tests: cells x (odds, canary's share, stable's share) x effects. `kappa` discounted the last
    window. `seen`: which arm (0 canary, 1 stable) has exported which metric; `heard`: the end of the last
    window in which canary and stable got requests; `counted`: of the last in which each metric set was there.
    """

    rules: Rules
    step: StepContext
    begun: int
    alarm: Array
    good: Array
    dispersion: Dispersion
    kappa: Array
    n: NDArray[np.int64]
    bad: NDArray[np.int64]
    heard: tuple[float, float]
    counted: tuple[float, ...]
    seen: frozenset[tuple[int, str]] = frozenset()
    seconds: float = 0.0
    last: WindowCounts | None = None


def begin(policy: Policy, metric_set: MetricSet, step: StepContext, carried: Carried) -> Sums:
    """A step's sums before its first window. Raises ValueError when `carried` is of other rules."""
    rules = rules_of(policy, metric_set)
    cells, tests = len(rules.cells), len(rules.weights)
    alarm = np.full((tests, len(evidence.WORSE_ODDS)), -np.inf)
    if carried.alarm:
        alarm = np.array([[-np.inf if w is None else w for w in row] for row in carried.alarm])
    if alarm.shape[0] != tests:
        raise ValueError("the evidence of the earlier steps is of another policy or metric set")
    begun = carried.steps + (0 if step.resumed else 1)
    if begun > step.steps:
        raise ValueError(f"all {step.steps} steps of the plan have been judged already")
    if not step.resumed:
        alarm = np.logaddexp(alarm, np.log(gamma(begun, step.steps)))
    return Sums(
        rules=rules,
        step=step,
        begun=begun,
        alarm=alarm,
        good=np.zeros((cells, 3, len(evidence.SHARE_RATIOS))),
        dispersion=resumed(carried.dispersion, cells),
        kappa=np.full(cells, ASSUMED_KAPPA if policy.kappa == "estimate" else policy.kappa),
        n=np.zeros((2, cells), dtype=np.int64),
        bad=np.zeros((2, cells), dtype=np.int64),
        heard=(step.anchor, step.anchor),
        counted=(step.anchor,) * len(metric_set.sets),
    )


def gamma(step: int, steps: int) -> float:
    """Prior weight of a canary that turns bad in this step: half for the first, the rest shared evenly."""
    return (1.0 if steps == 1 else 0.5) if step == 1 else 0.5 / (steps - 1)


def absorb(sums: Sums, window: WindowCounts) -> Sums:
    """The sums after one more window.

    Comparisons are discounted by the window's totals, on which they are conditioned, and the windows before;
    tests of one arm's share by the windows before alone, since totals would give its own count away.
    """
    rules, seconds = sums.rules, window.end - window.start
    n, bad, chi2, df = _arrays(rules, window)
    known, kappa = sums.dispersion, sums.kappa
    if rules.policy.kappa == "estimate":
        kappa = estimated(known, n[0], n[1], bad.sum(axis=0), seconds, rules.policy.kappa_bounds)
    return replace(
        sums,
        alarm=sums.alarm + _alarm_increments(rules, n, bad, (kappa, sums.kappa)),
        good=sums.good
        + (_good_increments(rules, n, bad, (kappa, sums.kappa)) if sums.step.last_compared else 0.0),
        dispersion=observe(known, n[0], bad[0], n[1], bad[1], chi2, df, seconds),
        kappa=kappa,
        n=sums.n + n,
        bad=sums.bad + bad,
        heard=_heard(sums, window),
        counted=_counted(sums, window),
        seen=sums.seen | _exported(window),
        seconds=sums.seconds + seconds,
        last=window,
    )


def carried_of(sums: Sums) -> Carried:
    """What the next step needs to know."""
    alarm = [[None if np.isneginf(w) else round(w, 9) for w in row] for row in sums.alarm.tolist()]
    return Carried(
        steps=sums.begun,
        alarm=tuple(map(tuple, alarm)),
        dispersion=kept(sums.dispersion),
    )


def log_evidence(sums: Sums) -> Array:
    """ln E of each test (comparisons, then objectives) against the canary, over the whole rollout."""
    rules, steps = sums.rules, sums.step.steps
    prior = np.concatenate([rules.worse.prior, rules.breach.prior])
    unbegun = evidence.log(np.array(sum(gamma(step, steps) for step in range(sums.begun + 1, steps + 1))))
    return np.asarray(np.logaddexp(evidence.log_sum(sums.alarm + prior), unbegun))


def log_goodness(sums: Sums, metric: str) -> float:
    """ln E that a metric is good enough: not worse by the margin, or negligible.

    The mean of two e-processes. One is against "worse by the margin at every threshold": the mean over the
    thresholds. The other is against "at some threshold it matters": the least over the thresholds of the
    evidence that the canary's bad share, or all that stable does better, is negligible.
    """
    mine = sums.rules.places[metric]
    close, small = sums.rules.close.prior[mine], sums.rules.small.prior[mine]
    good = sums.good[mine]
    odds = evidence.log_sum(evidence.log_sum(good[:, 0] + close)) - np.log(len(close))
    shares = np.min(evidence.log_sum(evidence.log_sum(good[:, 1:] + small[:, None]))) - np.log(2)
    return float(odds if np.isneginf(shares) else np.logaddexp(odds, shares) - np.log(2))


def totals(sums: Sums, arm: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Events and bad events of one arm (0 canary, 1 stable) in this step, by metric."""
    n, bad = sums.n[arm].tolist(), sums.bad[arm].tolist()
    return {name: (n[place.start], tuple(bad[place])) for name, place in sums.rules.places.items()}


def _heard(sums: Sums, window: WindowCounts) -> tuple[float, float]:
    counts = window.counts.get(sums.rules.metric_set.errors)
    if counts is None:
        return sums.heard
    canary, stable = sums.heard
    return window.end if counts.canary.n else canary, window.end if counts.stable.n else stable


def _counted(sums: Sums, window: WindowCounts) -> tuple[float, ...]:
    present = (
        any(metric.name in window.counts for metric in each.metrics) for each in sums.rules.metric_set.sets
    )
    return tuple(window.end if now else before for now, before in zip(present, sums.counted, strict=True))


def _exported(window: WindowCounts) -> frozenset[tuple[int, str]]:
    arms = ((arm, name, (c.canary, c.stable)[arm]) for name, c in window.counts.items() for arm in (0, 1))
    return frozenset((arm, name) for arm, name, counts in arms if counts.pods)


def _arrays(rules: Rules, window: WindowCounts) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array]:
    n, bad = (np.zeros((2, len(rules.cells)), dtype=np.int64) for _ in range(2))
    chi2, df = (np.zeros(len(rules.cells)) for _ in range(2))
    for i, cell in enumerate(rules.cells):
        if counts := window.counts.get(cell.metric.name):
            n[:, i] = counts.canary.n, counts.stable.n
            bad[:, i] = counts.canary.bad[cell.place], counts.stable.bad[cell.place]
            chi2[i], df[i] = counts.chi2, counts.df
    return n, bad, chi2, df


def _alarm_increments(rules: Rules, n: NDArray[np.int64], bad: NDArray[np.int64], kappa: Kappas) -> Array:
    worse, breach, limited = rules.worse, rules.breach, rules.objectives
    odds = evidence.odds_increments(n[0], bad[0], n[1], bad[1], worse.effects, worse.null)
    shares = evidence.share_increments(n[0][limited], bad[0][limited], breach.effects, breach.null)
    now, before = kappa
    return np.concatenate([odds * now[:, None], shares * before[limited, None]])


def _good_increments(rules: Rules, n: NDArray[np.int64], bad: NDArray[np.int64], kappa: Kappas) -> Array:
    close, small = rules.close, rules.small
    tests = (
        evidence.odds_increments(n[0], bad[0], n[1], bad[1], close.effects, close.null),
        evidence.share_increments(n[0], bad[0], small.effects, small.null),
        evidence.share_increments(n[1], n[1] - bad[1], small.effects, small.null),
    )
    now, before = kappa
    return np.stack(tests, axis=1) * np.stack([now, before, before], axis=1)[:, :, None]
