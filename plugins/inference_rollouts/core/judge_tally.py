"""The running sums of a judgement: each window is folded in once, in order.

For every test and alternative the tally keeps W = ln sum_k gamma_k exp L_k over the steps k begun so far,
where L_k is the tempered log likelihood ratio of all windows since step k began. A new step adds its
gamma_k to exp W, a window adds to W itself: that is the alarm's whole state, however long the rollout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from . import evidence
from .counts import WindowCounts
from .evidence import Array
from .judge_policy import Policy, StepContext
from .judge_rules import Rules, rules_of
from .judge_value import Value
from .metrics import MetricSet

PRIOR_TESTS = 10.0  # how many degrees of freedom the overdispersion assumed at first is worth
ASSUMED_KAPPA = 0.5


class Carried(Value):
    """The evidence of the steps so far, for the next step's judge; `Carried()` begins a rollout.

    `alarm` is W of every test and alternative (None: minus infinity), `chi2` and `df` the dispersion tests of
    stable against itself. Of use only with the same policy and metric set.
    """

    steps: int = 0
    alarm: tuple[tuple[float | None, ...], ...] = ()
    chi2: tuple[float, ...] = ()
    df: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What all windows of a step, and the steps before, amount to.

    `n` and `bad` are totals of this step: (canary, stable) x cells. `good` is the state of the promotion's
    tests: cells x (odds, canary's share, stable's share) x effects. `seen`: which arm (0 canary, 1 stable)
    has exported which metric.
    """

    rules: Rules
    step: StepContext
    begun: int
    alarm: Array
    good: Array
    chi2: Array
    df: Array
    n: NDArray[np.int64]
    bad: NDArray[np.int64]
    seen: frozenset[tuple[int, str]] = frozenset()
    seconds: float = 0.0
    last: WindowCounts | None = None


def begin(policy: Policy, metric_set: MetricSet, step: StepContext, carried: Carried) -> Tally:
    """A step's tally before its first window. Raises ValueError when `carried` is of other rules."""
    rules = rules_of(policy, metric_set)
    cells, tests = len(rules.cells), len(rules.weights)
    alarm = np.full((tests, len(evidence.WORSE_ODDS)), -np.inf)
    chi2, df = np.zeros(cells), np.zeros(cells)
    if carried.alarm:
        alarm = np.array([[-np.inf if w is None else w for w in row] for row in carried.alarm])
        chi2, df = np.array(carried.chi2), np.array(carried.df)
        if alarm.shape[0] != tests or chi2.shape[0] != cells:
            raise ValueError("the evidence of the earlier steps is of another policy or metric set")
    return Tally(
        rules=rules,
        step=step,
        begun=carried.steps + 1,
        alarm=np.logaddexp(alarm, -np.log(max(step.steps, carried.steps + 1))),
        good=np.zeros((cells, 3, len(evidence.SHARE_RATIOS))),
        chi2=chi2,
        df=df,
        n=np.zeros((2, cells), dtype=np.int64),
        bad=np.zeros((2, cells), dtype=np.int64),
    )


def absorb(tally: Tally, window: WindowCounts) -> Tally:
    """The tally after one more window. The tempering of a window knows only the windows before it."""
    rules = tally.rules
    n, bad, chi2, df = _arrays(rules, window)
    kappa = temper(tally)
    return replace(
        tally,
        alarm=tally.alarm + _alarm_increments(rules, n, bad, kappa),
        good=tally.good + (_good_increments(rules, n, bad, kappa) if tally.step.last_compared else 0.0),
        chi2=tally.chi2 + chi2,
        df=tally.df + df,
        n=tally.n + n,
        bad=tally.bad + bad,
        seen=tally.seen | _exported(window),
        seconds=tally.seconds + window.end - window.start,
        last=window,
    )


def carried_of(tally: Tally) -> Carried:
    """What the next step needs to know."""
    alarm = [[None if np.isneginf(w) else round(w, 9) for w in row] for row in tally.alarm.tolist()]
    return Carried(
        steps=tally.begun,
        alarm=tuple(map(tuple, alarm)),
        chi2=tuple(round(v, 6) for v in tally.chi2.tolist()),
        df=tuple(tally.df.tolist()),
    )


def temper(tally: Tally) -> Array:
    """Kappa of each cell: the policy's, or 1 / overdispersion as stable has shown it so far."""
    policy = tally.rules.policy
    if policy.kappa != "estimate":
        return np.full(len(tally.rules.cells), float(policy.kappa))
    dispersion = (tally.chi2 + PRIOR_TESTS / ASSUMED_KAPPA) / (tally.df + PRIOR_TESTS)
    return np.clip(1 / np.maximum(dispersion, 1e-9), *policy.kappa_bounds)


def log_evidence(tally: Tally) -> Array:
    """ln E of each test (comparisons, then objectives) against the canary, over the whole rollout."""
    rules = tally.rules
    prior = np.concatenate([rules.worse.prior, rules.breach.prior])
    steps = max(tally.step.steps, tally.begun)
    unbegun = evidence.log(np.array((steps - tally.begun) / steps))
    return np.asarray(np.logaddexp(evidence.log_sum(tally.alarm + prior), unbegun))


def log_goodness(tally: Tally, metric: str) -> float:
    """ln E that a metric is good enough: not worse by the margin, or negligible.

    The mean of two e-processes. One is against "worse by the margin at every edge": the mean over the edges.
    The other is against "at some edge it matters": the least over the edges of the evidence that the canary's
    bad share, or all that stable does better, is negligible.
    """
    mine = tally.rules.places[metric]
    close, small = tally.rules.close.prior[mine], tally.rules.small.prior[mine]
    good = tally.good[mine]
    odds = evidence.log_sum(evidence.log_sum(good[:, 0] + close)) - np.log(len(close))
    shares = evidence.log_sum(evidence.log_sum(good[:, 1:] + small[:, None])).min() - np.log(2)
    return float(odds if np.isneginf(shares) else np.logaddexp(odds, shares) - np.log(2))


def totals(tally: Tally, arm: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Events and bad events of one arm (0 canary, 1 stable) in this step, by metric."""
    n, bad = tally.n[arm].tolist(), tally.bad[arm].tolist()
    return {name: (n[place.start], tuple(bad[place])) for name, place in tally.rules.places.items()}


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
            chi2[i], df[i] = counts.chi2[cell.place], counts.df[cell.place]
    return n, bad, chi2, df


def _alarm_increments(rules: Rules, n: NDArray[np.int64], bad: NDArray[np.int64], kappa: Array) -> Array:
    worse, breach, limited = rules.worse, rules.breach, rules.objectives
    odds = evidence.odds_increments(n[0], bad[0], n[1], bad[1], worse.effects, worse.null)
    shares = evidence.share_increments(n[0][limited], bad[0][limited], breach.effects, breach.null)
    return np.concatenate([odds * kappa[:, None], shares * kappa[limited, None]])


def _good_increments(rules: Rules, n: NDArray[np.int64], bad: NDArray[np.int64], kappa: Array) -> Array:
    close, small = rules.close, rules.small
    tests = (
        evidence.odds_increments(n[0], bad[0], n[1], bad[1], close.effects, close.null),
        evidence.share_increments(n[0], bad[0], small.effects, small.null),
        evidence.share_increments(n[1], n[1] - bad[1], small.effects, small.null),
    )
    return np.stack(tests, axis=1) * kappa[:, None, None]
