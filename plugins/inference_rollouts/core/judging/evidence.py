"""E-processes: evidence that may be consulted any number of times.

All functions work on arrays whose first axis is the *cell* (a metric, or a metric at one threshold) and
whose last axis is the effect (the alternatives that are mixed). Everything is in logs, in nats.

In each window the bad total of both arms is taken as given; then, under odds ratio exp(delta), the canary's
bad count follows Fisher's noncentral hypergeometric distribution, whatever the common bad share is. So any
drift that both arms share cancels exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[Any]

WORSE_ODDS = (1.25, 1.5, 2.5, 5.0, 16.0)
"""Odds ratios mixed as alternatives to "no worse"..."""
WORSE_PRIOR = (0.05, 0.45, 0.29, 0.2, 0.01)
"""...and how likely: what is ten times as bad shows at once, whatever its prior."""
BETTER_RATIOS = (1.25, 1.5, 2.0, 3.0)
"""How far below the promotion margin the alternatives of "too bad" lie, as ratios of odds..."""
BETTER_PRIOR = (0.1, 0.2, 0.6, 0.1)
"""...and how likely: with the default margin of 1, half of its odds is a canary as good as stable."""
SHARE_RATIOS = (0.75, 0.5, 0.25, 0.05)
"""Shares mixed as alternatives to "not negligible", as ratios."""

_SMALL = 256  # factorials up to here come from a table
_NARROW = 2048  # values that a sum may run over for all of a cell's effects together, in blocks...
_BLOCK = 32  # ...of so many...
_RANGE = 690.0  # ...whose powers may span so many nats, as doubles do
_SMOOTH = 16.0  # standard deviations from here on are summed in strides
_STRIDE = 0.7  # standard deviations that a stride is long
_GRID = np.arange(-15, 16)  # strides: ten standard deviations to either side
_CHUNK = 1 << 20  # array elements worked on at once


def log_mean(n_c: Integers, n_b: Integers, bad: Integers, deltas: Array) -> Array:
    """ln M(delta) = ln sum_s C(n_c, s) C(n_b, bad - s) exp(delta s), for each cell and each of its deltas.

    `n_c`, `n_b`, `bad`: one integer a cell; `deltas`: cells x effects. Exact but for rounding, at a cost that
    does not grow with the counts: a narrow support is summed whole, a wide one about the mode of each effect.
    What a cell gets is, to the last bit, the same whatever cells are beside it.
    """
    first, last = np.maximum(0, bad - n_b), np.minimum(n_c, bad)
    out = np.empty(deltas.shape)
    wide = (last - first >= _NARROW) | (_BLOCK * np.abs(deltas).max(axis=1) >= _RANGE)
    blocks = (last - first) // _BLOCK + 1
    for rows in _chunks(np.flatnonzero(~wide), _BLOCK * blocks):
        out[rows] = _in_blocks(n_c[rows], n_b[rows], bad[rows], deltas[rows], first[rows], blocks[rows])
    canary, stable, both = (np.repeat(counts[wide], deltas.shape[1]) for counts in (n_c, n_b, bad))
    out[wide] = _about_modes(canary, stable, both, deltas[wide].ravel()).reshape(-1, deltas.shape[1])
    return out


def _in_blocks(
    n_c: Integers, n_b: Integers, bad: Integers, deltas: Array, first: Integers, blocks: Integers
) -> Array:
    """ln M from `first` on: of each block a polynomial in exp(delta), by Horner's rule.

    All terms are positive, so rounding does not grow; what underflows is e^-45 of the sum, or less.
    """
    begins = np.cumsum(blocks) - blocks
    cell = np.repeat(np.arange(len(blocks)), blocks)
    start = first[cell] + _BLOCK * (np.arange(len(cell)) - begins[cell])
    last = np.minimum(np.minimum(n_c, bad)[cell], start + _BLOCK - 1)
    log_ways = _log_ways(n_c[cell], n_b[cell], bad[cell], start, last)
    most = log_ways.max(axis=1, keepdims=True)
    ways, odds, total = np.exp(log_ways - most), np.exp(deltas)[cell], np.zeros((len(cell), deltas.shape[1]))
    for power in reversed(range(ways.shape[1])):
        total *= odds
        total += ways[:, power, None]
    parts = np.log(total) + most + deltas[cell] * start[:, None]
    top = np.maximum.reduceat(parts, begins, axis=0)
    return np.asarray(np.log(np.add.reduceat(np.exp(parts - top[cell]), begins, axis=0)) + top)


def _about_modes(n_c: Integers, n_b: Integers, bad: Integers, delta: Array) -> Array:
    """ln M of one delta a cell, from the values near the mean.

    The count is distributed as a sum of independent yes-or-noes (its generating function has real roots only:
    Vatutin and Mikhailov 1982), so Bernstein's inequality bounds what lies beyond `reach` by e^-39.
    """
    mean, variance = tendency(n_c, n_b, bad, np.exp(delta))
    reach = 26 + 9 * np.sqrt(variance)
    first = np.maximum(np.maximum(0, bad - n_b), np.floor(mean - reach).astype(np.int64))
    last = np.minimum(np.minimum(n_c, bad), np.ceil(mean + reach).astype(np.int64))
    smooth = variance >= _SMOOTH**2
    out = np.empty(delta.shape)
    for rows in _chunks(np.flatnonzero(~smooth), last - first):
        log_ways = _log_ways(n_c[rows], n_b[rows], bad[rows], first[rows], last[rows])
        s = first[rows, None] + np.arange(log_ways.shape[1])
        out[rows] = _log_sum_in_turn(log_ways + delta[rows, None] * s)
    for rows in _chunks(np.flatnonzero(smooth), np.full(len(delta), len(_GRID))):
        out[rows] = _strided(n_c[rows], n_b[rows], bad[rows], delta[rows], mean[rows], variance[rows])
    return out


def _log_ways(n_c: Integers, n_b: Integers, bad: Integers, first: Integers, last: Integers) -> Array:
    """ln C(n_c, s) C(n_b, bad - s) from `first` on, minus infinity beyond `last`: cells x values of s.

    Each follows from the one before by a ratio of whole numbers.
    """
    s = first[:, None] + np.arange(int((last - first).max()) + 1)
    canary, left = n_c[:, None] - s[:, :-1], bad[:, None] - s[:, :-1]
    ratio = (canary / s[:, 1:]) * (left / (n_b[:, None] - left + 1))
    ratio = np.where(s[:, 1:] <= last[:, None], ratio, 0.0)
    start = log_choose(n_c, first) + log_choose(n_b, bad - first)
    return np.concatenate([start[:, None], start[:, None] + np.cumsum(log(ratio), axis=1)], axis=1)


def _chunks(rows: Integers, widths: Integers) -> Iterator[Integers]:
    """`rows` from the narrowest to the widest, in parts of at most _CHUNK elements when padded."""
    rows = rows[np.argsort(widths[rows], kind="stable")]
    while len(rows):
        cost = np.arange(1, len(rows) + 1) * (widths[rows] + 1)
        end = max(1, int(np.searchsorted(cost, _CHUNK)))
        yield rows[:end]
        rows = rows[end:]


def _strided(
    n_c: Integers, n_b: Integers, bad: Integers, delta: Array, mean: Array, variance: Array
) -> Array:
    """ln M from every h-th term, times h, where h is at most 0.7 standard deviations sigma.

    By Poisson's summation formula that is exact up to the characteristic function at multiples of 2 pi / h,
    and a sum of independent yes-or-noes has |phi(t)| <= exp(-sigma^2 (1 - cos t)): e^-40 or less here. Terms
    are taken relative to the one at the mean, by Stirling's formula for each of the table's four counts; none
    of them ends within the grid, since sigma^2 = 1 / (sum of 1 / count) is below the least.
    """
    stride = np.floor(_STRIDE * np.sqrt(variance)).astype(np.int64)
    middle = np.rint(mean).astype(np.int64)
    counts = np.stack([middle, n_c - middle, bad - middle, n_b - bad + middle])[:, :, None]
    signs = np.array([1, -1, -1, 1])[:, None, None]
    step = stride[:, None] * _GRID
    moved = counts + signs * step
    slope = delta[:, None] - (signs * np.log(counts)).sum(axis=0)
    ways = (moved + 0.5) * np.log1p(signs * step / counts) + _stirling(moved) - _stirling(counts)
    at_middle = log_choose(n_c, middle) + log_choose(n_b, bad - middle) + delta * middle
    return at_middle + np.log(stride) + log_sum(slope * step - ways.sum(axis=0))


def log_choose(n: Integers, k: Integers) -> Array:
    """ln C(n, k). The large parts of its three factorials are joined, so that nothing cancels."""
    return _rest(n) - _rest(k) - _rest(n - k) - _k_log_share(k, n) - _k_log_share(n - k, n)


def _k_log_share(k: Integers, n: Integers) -> Array:
    return np.asarray(k * np.log(np.maximum(k, 1) / np.maximum(n, 1)))


def _rest(k: Integers) -> Array:
    """ln k! - (k ln k - k): from a table, by Stirling's series beyond it."""
    x = np.maximum(k, _SMALL).astype(float)
    return np.where(k < _SMALL, _REST[np.minimum(k, _SMALL - 1)], 0.5 * np.log(2 * np.pi * x) + _stirling(x))


def _stirling(x: Integers) -> Array:
    """What ln x! is more than its leading part ln(sqrt(2 pi x) (x / e)^x); to 1e-15 from 256 on."""
    inverse = 1.0 / x
    return np.asarray(inverse * (1 / 12 - inverse * inverse / 360))


_REST = np.array([math.lgamma(k + 1) - (k * math.log(k) - k if k else 0) for k in range(_SMALL)])


def log_sum(terms: Array) -> Array:
    """ln sum exp over the last axis; minus infinity where nothing is summed."""
    top = np.max(terms, axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        total: Array = np.log(np.sum(np.exp(terms - top), axis=-1)) + top[..., 0]
    return total


def _log_sum_in_turn(terms: Array) -> Array:
    """The same, term by term, so that what is minus infinity behind the last changes no bit of it."""
    top = terms.max(axis=-1, keepdims=True)
    return np.asarray(np.log(np.cumsum(np.exp(terms - top), axis=-1)[..., -1]) + top[..., 0])


def odds_increments(
    n_c: Integers, x_c: Integers, n_b: Integers, x_b: Integers, deltas: Array, null: Array
) -> Array:
    """ln of the likelihood ratio of each delta against `null` (one a cell) in one window: cells x effects.

    Its exponential has mean 1 at log odds `null`, and at most 1 on the side of `null` away from delta.
    """
    log_m = log_mean(n_c, n_b, x_c + x_b, np.concatenate([deltas, null[:, None]], axis=1))
    return (deltas - null[:, None]) * x_c[:, None] - (log_m[:, :-1] - log_m[:, -1:])


def share_increments(n: Integers, x: Integers, shares: Array, null: Array) -> Array:
    """The same for one arm's bad share against the fixed share `null`: cells x effects; leading axes are
    free."""
    limit = null[:, None]
    good, bad = (n - x)[..., None], x[..., None]
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


def stacked(arrays: Sequence[Integers]) -> Integers:
    """Along a new first axis; one array alone, as of most judges, is not copied."""
    return np.stack(arrays) if len(arrays) > 1 else arrays[0][None]


def log(values: Array) -> Array:
    """ln, with minus infinity for 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))
