"""E-processes: evidence that may be looked at any number of times.

All functions work on arrays whose first axis is the *cell* (a metric, or a metric at one bucket edge) and
whose last axis is the effect (the alternatives that are mixed). Everything is in logs, in nats.

In each window the bad total of both arms is taken as given; then, under odds ratio exp(delta), the canary's
bad count follows Fisher's noncentral hypergeometric distribution, whatever the common bad share is. So any
drift that both arms share cancels exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[Any]

WORSE_ODDS = (1.25, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0)
"""Odds ratios mixed as alternatives to "no worse"."""
BETTER_RATIOS = (1.25, 1.5, 2.0, 3.0)
"""How far below the promotion margin the alternatives of "too bad" lie, as ratios of odds."""
SHARE_RATIOS = (0.75, 0.5, 0.25, 0.05)
"""Shares mixed as alternatives to "not negligible", as ratios."""

_TABLE = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, 8192)))])
_CHUNK = 1 << 20  # array elements worked on at once
_WIDE = 512  # support beyond which each effect is summed near its own mode
_REACH = 9  # standard deviations of a support beyond which nothing is left in double precision


def log_factorial(k: Integers) -> Array:
    """ln k!, from a table, by Stirling's series beyond it."""
    k = np.asarray(k, dtype=np.int64)
    if k.size == 0 or k.max() < len(_TABLE):
        return _TABLE[k]
    x = np.maximum(k, 1).astype(float)
    stirling = x * np.log(x) - x + 0.5 * np.log(2 * np.pi * x) + 1 / (12 * x) - 1 / (360 * x**3)
    return np.where(k < len(_TABLE), _TABLE[np.minimum(k, len(_TABLE) - 1)], stirling)


def log_mean(n_c: Integers, n_b: Integers, bad: Integers, deltas: Array) -> Array:
    """ln M(delta) = ln sum_s C(n_c, s) C(n_b, bad - s) exp(delta s), for each cell and each of its deltas.

    `n_c`, `n_b`, `bad`: one integer a cell; `deltas`: cells x effects. Exact but for rounding.
    """
    first, last = _support(n_c, n_b, bad, deltas)
    out = np.empty(deltas.shape)
    width = last - first + 1
    if deltas.shape[1] > 1 and (wide := width > _WIDE).any():  # then each effect needs another part of it
        one, other, both = (np.repeat(counts[wide], deltas.shape[1]) for counts in (n_c, n_b, bad))
        out[wide] = log_mean(one, other, both, deltas[wide].reshape(-1, 1)).reshape(-1, deltas.shape[1])
        out[~wide] = log_mean(n_c[~wide], n_b[~wide], bad[~wide], deltas[~wide])
        return out
    order = np.argsort(width, kind="stable")
    while len(order):
        cost = np.arange(1, len(order) + 1) * width[order] * deltas.shape[1]
        rows, order = np.split(order, [max(1, int(np.searchsorted(cost, _CHUNK)))])
        out[rows] = _log_mean(n_c[rows], n_b[rows], bad[rows], deltas[rows], first[rows], last[rows])
    return out


def _support(n_c: Integers, n_b: Integers, bad: Integers, deltas: Array) -> tuple[Integers, Integers]:
    """First and last s that matter: the whole support, or what lies near the modes of all the deltas."""
    low, high = np.maximum(0, bad - n_b), np.minimum(n_c, bad)
    odds = np.exp(np.stack([deltas.min(axis=1), deltas.max(axis=1)]))
    a, b = odds - 1, odds * (n_c + bad + 2) + n_b - bad
    mode = (
        2 * odds * (n_c + 1.0) * (bad + 1.0) / (b + np.sqrt(b * b - 4 * a * odds * (n_c + 1.0) * (bad + 1.0)))
    )
    reach = _REACH * (1 + 0.5 * np.sqrt(np.maximum(high - low, 0)))
    first = np.maximum(low, np.floor(mode[0] - reach).astype(np.int64))
    last = np.minimum(high, np.ceil(mode[1] + reach).astype(np.int64))
    return first, last


def _log_mean(
    n_c: Integers, n_b: Integers, bad: Integers, deltas: Array, first: Integers, last: Integers
) -> Array:
    """The sum from `first` to `last`; each term follows from the one before by a ratio of whole numbers."""
    s = first[:, None] + np.arange(int((last - first).max()) + 1)
    canary, left = n_c[:, None] - s[:, :-1], bad[:, None] - s[:, :-1]
    ratio = (canary / s[:, 1:]) * (left / (n_b[:, None] - left + 1))
    ratio = np.where(s[:, 1:] <= last[:, None], ratio, 0.0)
    start = _log_choose(n_c, first) + _log_choose(n_b, bad - first)
    log_ways = np.concatenate([start[:, None], start[:, None] + np.cumsum(log(ratio), axis=1)], axis=1)
    return log_sum(log_ways[:, None, :] + deltas[:, :, None] * s[:, None, :])


def _log_choose(n: Integers, k: Integers) -> Array:
    return log_factorial(n) - log_factorial(k) - log_factorial(n - k)


def log_sum(terms: Array) -> Array:
    """ln sum exp over the last axis; minus infinity where nothing is summed."""
    top = np.max(terms, axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total: Array = np.log(np.sum(np.exp(terms - top), axis=-1)) + top[..., 0]
    return total


def odds_increments(
    n_c: Integers, x_c: Integers, n_b: Integers, x_b: Integers, deltas: Array, null: Array
) -> Array:
    """ln of the likelihood ratio of each delta against `null` (one a cell) in one window: cells x effects.

    Its exponential has mean 1 at log odds `null`, and at most 1 on the side of `null` away from delta.
    """
    log_m = log_mean(n_c, n_b, x_c + x_b, np.concatenate([deltas, null[:, None]], axis=1))
    return (deltas - null[:, None]) * x_c[:, None] - (log_m[:, :-1] - log_m[:, -1:])


def share_increments(n: Integers, x: Integers, shares: Array, null: Array) -> Array:
    """The same for one arm's bad share against the fixed share `null`: cells x effects."""
    limit = null[:, None]
    good, bad = (n - x)[:, None], x[:, None]
    gain: Array = bad * np.log(shares / limit) + good * np.log((1 - shares) / (1 - limit))
    return gain


def tendency(n_c: Integers, n_b: Integers, bad: Integers, odds: Array) -> tuple[Array, Array]:
    """Mean and variance of the canary's bad count, given the totals, in the large-sample approximation."""
    a, b, c = odds - 1, odds * (n_c + bad) + n_b - bad, odds * n_c * bad
    root = b + np.sqrt(np.maximum(b * b - 4 * a * c, 0.0))
    mean = np.where(root > 0, 2 * c / np.where(root > 0, root, 1.0), 0.0)
    parts = np.stack([mean, n_c - mean, bad - mean, n_b - bad + mean])
    certain = (parts <= 0).any(axis=0)
    variance = np.where(certain, 0.0, 1 / (1 / np.where(certain, 1.0, parts)).sum(axis=0))
    return mean, variance


def log_prior(usable: NDArray[np.bool_]) -> Array:
    """Equal log weights on the usable effects of the last axis, none on the others."""
    return log(usable / np.maximum(usable.sum(axis=-1, keepdims=True), 1))


def log(values: Array) -> Array:
    """ln, with minus infinity for 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))
