"""How a latency's weight is spread over its thresholds: by what each can tell.

Half of the weight is spread evenly, as what is rare may be all that changes. Half is spread by what each
tells of times that are all longer: where a share p of the requests is slower than the threshold, and log
odds fall by a slope with log time, that is p (1 - p) slope^2 nats a request (Fisher's information), little
where nearly all are slower, or nearly none. It is read off both arms together: which of them was slow has no
say in it, so an e-process stays one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference_rollouts.core.judging.evidence import Array, Integers
from inference_rollouts.core.judging.metrics import Latency, Rate
from inference_rollouts.core.judging.rules import Rules

EVENLY = 0.5


def log_spread(rules: Rules, counted: Integers) -> Array:
    """ln of what each cell weighs, over an even part of its metric; 0 for a rate.

    `counted` are events and bad ones of both arms: ... x 2 x cells.
    """
    n, bad = counted[..., 0, :], counted[..., 1, :]
    starts = [place.start for place in rules.places.values()]
    return np.log(_spread((bad + 0.5) / (n + 1), rules.gaps, starts))


def spread(metric: Rate | Latency, shares: Sequence[float]) -> Array:
    """What each threshold of a metric weighs, over an even part, where these shares are slower."""
    gaps = np.diff(np.log(metric.thresholds)) if isinstance(metric, Latency) else np.empty(0)
    return _spread(np.clip(shares, 1e-9, 1 - 1e-9), gaps, [0])


def _spread(shares: Array, gaps: Array, starts: Sequence[int]) -> Array:
    """`gaps` in log time are between neighbours, infinite between those that are none; at each of `starts`
    another metric's begin."""
    telling = shares * (1 - shares) * _slopes(np.log(shares / (1 - shares)), gaps) ** 2
    widths = np.diff([*starts, shares.shape[-1]])
    mean = np.repeat(np.add.reduceat(telling, starts, axis=-1) / widths, widths, axis=-1)
    part = np.divide(telling, mean, out=np.ones_like(telling), where=mean > 0)
    return np.asarray(EVENLY + (1 - EVENLY) * part)


def _slopes(log_odds: Array, gaps: Array) -> Array:
    """At each threshold the mean of those to its neighbours; 0 where it has none."""
    steep = np.abs(np.diff(log_odds, axis=-1)) / gaps
    before, after = (np.zeros(log_odds.shape) for _ in range(2))
    before[..., 1:], after[..., :-1] = steep, steep
    near = np.isfinite(gaps).astype(float)
    neighbours = np.pad(near, (1, 0)) + np.pad(near, (0, 1))
    return np.asarray((before + after) / np.maximum(neighbours, 1.0))
