"""What is tolerated at each cell, as a ratio of odds.

A rate has odds that are no regression, and so has a latency. But pods and nodes of one kind differ in pace by
a few per cent, and what that makes of the odds depends on the threshold: little where times spread widely,
much in the tails of times that are nearly alike. So it is read off the times that were counted: log odds fall
about evenly with log time between two thresholds, and times that are longer by `slowdown` move along that.
"""

from __future__ import annotations

import math

import numpy as np

from inference_rollouts.core.judging.evidence import Array, Integers
from inference_rollouts.core.judging.metrics import Latency
from inference_rollouts.core.judging.rules import Rules

MOST = math.log(5.0)  # of the log odds that a slowdown may make tolerable: what is worse is always seen


def tolerated(rules: Rules, counted: Integers) -> Array:
    """Log odds that are no regression, by cell, from the events and bad ones counted before: ... x 2 x
    cells."""
    n, bad = counted[..., 0, :], counted[..., 1, :]
    log_odds = np.log((bad + 0.5) / (n - bad + 0.5))
    out = np.broadcast_to(rules.tolerated, log_odds.shape).copy()
    for name, place in rules.places.items():
        metric = rules.metric_set[name]
        if isinstance(metric, Latency):
            out[..., place] = np.maximum(out[..., place], slower(metric, log_odds[..., place]))
    return out


def slower(metric: Latency, log_odds: Array) -> Array:
    """By how much times that are longer by the metric's `slowdown` raise these log odds of being slow.

    At each threshold by the steeper of the slopes to its neighbours, since log odds fall the faster the
    farther out they are; a lone threshold has none.
    """
    if len(metric.thresholds) == 1:
        return np.zeros(log_odds.shape)
    slopes = np.abs(np.diff(log_odds)) / np.diff(np.log(metric.thresholds))
    sides = np.concatenate([slopes[..., :1], slopes, slopes[..., -1:]], axis=-1)
    steepest = np.maximum(sides[..., :-1], sides[..., 1:])
    return np.asarray(np.minimum(steepest * math.log1p(metric.slowdown), MOST))
