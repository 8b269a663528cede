"""What is tolerated at each cell, as a ratio of odds.

A rate has odds that are no regression, and so has a latency. But pods and nodes of one kind differ in pace by
a few per cent, and what that makes of the odds depends on the threshold: little where times spread widely,
much in the tails of times that are nearly alike. So it is read off the times that were counted: between two
thresholds log times are taken as normal, so that the deviation of a share falls evenly with log time, and
times that are longer by `slowdown` move along that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from inference_rollouts.core.judging.evidence import Array, Integers
from inference_rollouts.core.judging.metrics import Latency, Rate
from inference_rollouts.core.judging.policy import Policy
from inference_rollouts.core.judging.rules import Rules

BEYOND = 1.2  # times as steep beyond the outermost threshold: the bulk of the times, where a tail is longer
MOST = math.log(5.0)  # of the log odds that a slowdown may make tolerable: what is worse is always seen
LINEAR, CUBIC = 1.5976, 0.07056  # log odds by deviation; shares are right to 1.5e-4 (Bowling and others 2009)


def tolerated(rules: Rules, counted: Integers) -> Array:
    """Log odds that are no regression, by cell, from the events and bad ones counted before: ... x 2 x
    cells."""
    n, bad = counted[..., 0, :], counted[..., 1, :]
    log_odds = np.log((bad + 0.5) / (n - bad + 0.5))
    return np.maximum(rules.tolerated, _slower(log_odds, rules.gaps, rules.slowdown))


def expected(policy: Policy, metric: Rate | Latency, shares: Sequence[float]) -> tuple[Array, Array]:
    """Of a metric with these shares of bad ones: the log odds that are no regression as such, at each
    threshold, and all that are."""
    p = np.clip(shares, 1e-9, 1 - 1e-9)
    odds = np.full(len(p), math.log1p(policy.tolerances.get(metric.name, metric.tolerance)))
    longer = slower(metric, np.log(p / (1 - p))) if isinstance(metric, Latency) else np.zeros(len(p))
    return odds, np.maximum(odds, longer)


def slower(metric: Latency, log_odds: Array) -> Array:
    """By how much times that are longer by the metric's `slowdown` raise these log odds of being slow.

    At each threshold by the steeper of the slopes to its neighbours, at the outermost BEYOND times that to
    the one it has; a lone threshold has none.
    """
    return _slower(log_odds, np.diff(np.log(metric.thresholds)), math.log1p(metric.slowdown))


def _slower(log_odds: Array, gaps: Array, slowdown: Array | float) -> Array:
    """`gaps` between neighbours, infinite between those that are none."""
    deviations = _deviations(log_odds)
    slopes = np.abs(np.diff(deviations, axis=-1)) / gaps
    steepest = np.zeros(log_odds.shape)
    steepest[..., :-1] = slopes
    np.maximum(steepest[..., 1:], slopes, out=steepest[..., 1:])
    near = np.isfinite(gaps)
    between = np.append(near, False) & np.append(False, near)
    moved = deviations + np.where(between, 1.0, BEYOND) * steepest * slowdown
    return np.asarray(np.minimum(_log_odds(moved) - _log_odds(deviations), MOST))


def _log_odds(deviations: Array) -> Array:
    return (LINEAR + CUBIC * deviations**2) * deviations


def _deviations(log_odds: Array) -> Array:
    """The inverse: the real root of the cubic."""
    scale = 2 * math.sqrt(LINEAR / (3 * CUBIC))
    return scale * np.sinh(np.arcsinh(3 * log_odds / (LINEAR * scale)) / 3)
