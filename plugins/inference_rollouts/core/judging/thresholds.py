"""How a latency's weight is spread over its thresholds: by what each can tell.

Where nearly all requests are slower than a threshold, or nearly none, a latency that changes shows little.
Half of the weight is spread evenly, as what is rare may be all that changes; half by the standard deviation
of being slower or not. That is read off both arms together: which of them was slow has no say in it, so an
e-process stays one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inference_rollouts.core.judging.evidence import Array, Integers
from inference_rollouts.core.judging.rules import Rules

EVENLY = 0.5
LEAST = 1e-9  # that the variance of one request is taken for


def log_spread(rules: Rules, counted: Integers) -> Array:
    """ln of what each cell weighs, over an even part of its metric; 0 for a rate.

    `counted` are events and bad ones of both arms: ... x 2 x cells.
    """
    n, bad = counted[..., 0, :], counted[..., 1, :]
    starts = [place.start for place in rules.places.values()]
    return np.log(spread((bad + 0.5) / (n + 1), starts))


def spread(shares: Array, starts: Sequence[int] = (0,)) -> Array:
    """What each threshold weighs, over an even part, where these shares are slower; at each of `starts`
    another metric's begin."""
    deviation = np.sqrt(np.maximum(shares * (1 - shares), LEAST))
    widths = np.diff([*starts, shares.shape[-1]])
    mean = np.add.reduceat(deviation, starts, axis=-1) / widths
    return np.asarray(EVENLY + (1 - EVENLY) * deviation / np.repeat(mean, widths, axis=-1))
