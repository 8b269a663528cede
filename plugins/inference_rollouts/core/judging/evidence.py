"""E-processes: evidence that may be consulted any number of times.

All functions work on arrays whose first axis is the *cell* (a metric, or a metric at one threshold) and
whose last axis is the effect (the alternatives that are mixed). Everything is in logs, in nats.

In each window the bad total of both arms is taken as given; then, under odds ratio exp(delta), the canary's
bad count follows Fisher's noncentral hypergeometric distribution, whatever the common bad share is. So any
drift that both arms share cancels exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[Any]

WORSE_ODDS = (1.25, 1.5, 2.2, 3.2, 6.0, 16.0)
"""Odds ratios mixed as alternatives to "no worse"..."""
WORSE_PRIOR = (0.03, 0.42, 0.2, 0.22, 0.12, 0.01)
"""...and how likely: what is ten times as bad shows at once, whatever its prior."""
BETTER_RATIOS = (1.25, 1.5, 2.0, 3.0)
"""How far below the promotion margin the alternatives of "too bad" lie, as ratios of odds..."""
BETTER_PRIOR = (0.1, 0.2, 0.6, 0.1)
"""...and how likely: with the default margin of 1, half of its odds is a canary as good as stable."""
SHARE_RATIOS = (0.75, 0.5, 0.25, 0.05)
"""Shares mixed as alternatives to "not negligible", as ratios."""

_SMALL = 256  # factorials up to here come from a table
_NARROW = 2048  # values that a sum may run over for all of a cell's effects together
_BLOCK = 32  # values that are summed relative to the first of them...
_RANGE = 690.0  # ...as long as they differ by no more nats than doubles do
_SMOOTH = 12.0  # standard deviations from here on are summed in strides
_STRIDE = 0.7  # standard deviations that a stride is long
_GRID = np.arange(-15, 16)  # strides: ten standard deviations to either side
_CHUNK = 1 << 20  # array elements worked on at once


def log_mean(n_c: Integers, n_b: Integers, bad: Integers, deltas: Array) -> Array:
    """ln M(delta) = ln sum_s C(n_c, s) C(n_b, bad - s) exp(delta s), for each cell and each of its deltas.

    `n_c`, `n_b`, `bad`: one integer a cell; `deltas`: cells x effects. Exact but for rounding, at a cost that
    does not grow with the counts: a narrow support is summed whole, a wide one about the mode of each effect.
    What a cell gets is, to the last bit, the same whatever cells are beside it.
    """
    table = np.stack([n_c, n_b, bad]).astype(np.float64)
    first, last = np.maximum(0, bad - n_b), np.minimum(n_c, bad)
    steepest = log(_ratio(table, first)) + np.maximum(deltas.max(axis=1), 0.0)
    narrow = (last - first < _NARROW) & (_BLOCK * steepest < _RANGE)
    if narrow.all():
        return _in_blocks(table, deltas, first, last)
    out, wide, effects = np.empty(deltas.shape), ~narrow, deltas.shape[1]
    out[narrow] = _in_blocks(table[:, narrow], deltas[narrow], first[narrow], last[narrow])
    modes = _about_modes(np.repeat(table[:, wide], effects, axis=1), deltas[wide].ravel())
    out[wide] = modes.reshape(-1, effects)
    return out


def _ratio(table: Array, s: Array) -> Array:
    """C(n_c, s) C(n_b, bad - s) of s + 1 over that of s, for each column (n_c, n_b, bad): 0 at the last s."""
    n_c, n_b, bad = table
    return np.asarray((n_c - s) * (bad - s) / ((s + 1) * (n_b - bad + 1 + s)))


def _in_blocks(table: Array, deltas: Array, first: Integers, last: Integers) -> Array:
    """ln M from the values `first` to `last`, or a few more."""
    blocks = (last - first) // _BLOCK + 1
    parts = _chunks(_BLOCK * blocks)
    return np.concatenate([_of_blocks(table[:, p], deltas[p], first[p], blocks[p]) for p in parts])


def _of_blocks(table: Array, deltas: Array, first: Integers, blocks: Integers) -> Array:
    """ln M of so many blocks from `first` on: of each a polynomial in exp(delta), by Horner's rule.

    All terms are positive, so rounding does not grow; what underflows is e^-500 of its block, or less.
    """
    begins = np.cumsum(blocks) - blocks
    cell = np.repeat(np.arange(len(blocks)), blocks)
    start = (first - _BLOCK * begins)[cell] + _BLOCK * np.arange(len(cell))
    own, effects = table[:, cell], np.take(deltas.T, cell, axis=1)
    ways = np.ones((_BLOCK, len(cell)))
    np.cumprod(_ratio(own, start + np.arange(_BLOCK - 1)[:, None]), axis=0, out=ways[1:])
    odds, total = np.exp(effects), np.zeros(effects.shape)
    for each in ways[::-1]:
        total *= odds
        total += each
    parts = np.log(total) + _log_ways(own, start) + effects * start
    top = np.maximum.reduceat(parts, begins, axis=1)
    return np.asarray(np.log(np.add.reduceat(np.exp(parts - top[:, cell]), begins, axis=1)) + top).T


def _about_modes(table: Array, delta: Array) -> Array:
    """ln M of one delta a cell, from the values near the mean.

    The count is distributed as a sum of independent yes-or-noes (its generating function has real roots only:
    Vatutin and Mikhailov 1982), so Bernstein's inequality bounds what lies beyond `reach` by e^-39.
    """
    n_c, n_b, bad = table
    mean, variance = tendency(n_c, n_b, bad, np.exp(delta))
    smooth = np.flatnonzero(variance >= _SMOOTH**2)
    out = np.empty(delta.shape)
    for part in _chunks(np.full(len(smooth), 4 * len(_GRID))):
        rows = smooth[part]
        out[rows] = _strided(table[:, rows], delta[rows], mean[rows], variance[rows])
    if len(rough := np.flatnonzero(variance < _SMOOTH**2)):
        reach = 26 + 9 * np.sqrt(variance)
        first = np.maximum(np.maximum(0, bad - n_b), np.floor(mean - reach))[rough].astype(np.int64)
        last = np.minimum(np.minimum(n_c, bad), np.ceil(mean + reach))[rough].astype(np.int64)
        out[rough] = _in_blocks(table[:, rough], delta[rough, None], first, last)[:, 0]
    return out


def _chunks(costs: Integers) -> list[slice]:
    """Neighbours that cost about _CHUNK together."""
    edges = [0, *(np.flatnonzero(np.diff(np.cumsum(costs) // _CHUNK)) + 1).tolist(), len(costs)]
    return list(map(slice, edges, edges[1:]))


def _strided(table: Array, delta: Array, mean: Array, variance: Array) -> Array:
    """ln M from every h-th term, times h, where h is at most 0.7 standard deviations sigma.

    By Poisson's summation formula that is exact up to the characteristic function at multiples of 2 pi / h,
    and a sum of independent yes-or-noes has |phi(t)| <= exp(-sigma^2 (1 - cos t)): e^-40 or less here. Terms
    are taken relative to the one at the mean, by Stirling's formula for each of the table's four counts; none
    of them ends within the grid, since sigma^2 = 1 / (sum of 1 / count) is below the least.
    """
    n_c, n_b, bad = table
    stride, middle = np.floor(_STRIDE * np.sqrt(variance)), np.rint(mean)
    counts = np.stack([middle, n_c - middle, bad - middle, n_b - bad + middle])[:, :, None]
    signs = np.array([1, -1, -1, 1])[:, None, None]
    step = stride[:, None] * _GRID
    moved = counts + signs * step
    slope = delta[:, None] - (signs * np.log(counts)).sum(axis=0)
    ways = (moved + 0.5) * np.log1p(signs * step / counts) + _stirling(moved) - _stirling(counts)
    at_middle = _log_ways(table, middle) + delta * middle
    return np.asarray(at_middle + np.log(stride * np.exp(slope * step - ways.sum(axis=0)).sum(axis=1)))


def _log_ways(table: Array, s: Array) -> Array:
    """ln C(n_c, s) C(n_b, bad - s)."""
    return np.asarray(log_choose(table[:2], np.stack([s, table[2] - s])).sum(axis=0))


def log_choose(n: Integers, k: Integers) -> Array:
    """ln C(n, k). The large parts of its three factorials are joined, so that nothing cancels."""
    parts = np.stack([k, n - k])
    large = parts * np.log(np.maximum(parts, 1) / np.maximum(n, 1))
    return np.asarray(_rest(n) - (_rest(parts) + large).sum(axis=0))


def _rest(k: Integers) -> Array:
    """ln k! - (k ln k - k): from a table, by Stirling's series beyond it."""
    x = np.maximum(k, _SMALL)
    tabled = _REST[np.minimum(k, _SMALL - 1).astype(np.int64)]
    return np.where(k < _SMALL, tabled, 0.5 * np.log(2 * np.pi * x) + _stirling(x))


def _stirling(x: Integers) -> Array:
    """What ln x! is more than its leading part ln(sqrt(2 pi x) (x / e)^x); to 2e-14 from 144 on."""
    inverse = 1.0 / x
    return np.asarray(inverse * (1 / 12 - inverse * inverse / 360))


_REST = np.array([math.lgamma(k + 1) - (k * math.log(k) - k if k else 0) for k in range(_SMALL)])


def log_sum(terms: Array) -> Array:
    """ln sum exp over the last axis; minus infinity where nothing is summed."""
    return np.asarray(np.logaddexp.reduce(terms, axis=-1))


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
