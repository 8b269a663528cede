"""Overdispersion: how much evidence to believe when counts scatter more than those of independent requests.

Counts are overdispersed for two reasons. Requests that share their fate (clumps, retries) multiply the
variance of every count by a factor; stable's own pods, which should be alike, show it by Pearson's
chi-square. Noise of one arm alone adds a variance to the log odds; the canary's surprises show that, minute
against minute, about its own average odds ratio. Common drift is neither, and a lasting difference between
the arms is none.

Only past windows are used, so kappa is predictable and discounted evidence stays valid. Arrays have one value
a cell in their last axis; leading axes are free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.evidence import Array, Integers

ASSUMED_KAPPA = 0.5  # before stable has shown anything
BLOCK = 60.0  # seconds within which noise is taken to last
PRIOR_TESTS = 30.0  # degrees of freedom that the assumed overdispersion is worth
PRIOR_NOISE = 0.2  # variance of the log odds assumed at first...
PRIOR_SPREAD = 10.0  # ...and the information (nats per squared log odds) that this assumption is worth


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The minute under way (score, its variance, seconds), and the surprise of the one before (NaN: none)."""

    score: Array
    variance: Array
    last: Array
    last_variance: Array
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Dispersion:
    """Running sums: pods against pods (`chi2`, `df`), the canary's odds ratio by Mantel and Haenszel (`up`,
    `down`), surprises beyond chance (`excess`) and the information with which they were seen (`spread`)."""

    block: Block
    chi2: Array
    df: Array
    up: Array
    down: Array
    excess: Array
    spread: Array


_KEPT = ("chi2", "df", "up", "down", "excess", "spread")


def nothing_known(*shape: int) -> Dispersion:
    """Before the first window."""
    return Dispersion(_no_block(shape), *(np.zeros(shape) for _ in _KEPT))


def without_block(known: Dispersion) -> Dispersion:
    """The lasting sums alone, where a new step begins."""
    return replace(known, block=_no_block(known.df.shape))


def _no_block(shape: tuple[int, ...]) -> Block:
    return Block(np.zeros(shape), np.zeros(shape), np.full(shape, np.nan), np.zeros(shape))


def kept(known: Dispersion) -> dict[str, tuple[float, ...]]:
    """What goes from step to step, as plain data: all sums but those of the open block and the one before."""
    return {name: tuple(round(value, 9) for value in getattr(known, name).tolist()) for name in _KEPT}


def resumed(sums: Mapping[str, Sequence[float]], cells: int) -> Dispersion:
    """The inverse of `kept`, or nothing known. Raises ValueError when the sums are not of so many cells."""
    if not sums:
        return nothing_known(cells)
    if set(sums) != set(_KEPT) or any(len(values) != cells for values in sums.values()):
        raise ValueError("the evidence of the earlier steps is of another policy or metric set")
    return Dispersion(_no_block((cells,)), *(np.array(sums[name]) for name in _KEPT))


def kappa(
    known: Dispersion,
    n_c: Integers,
    n_b: Integers,
    bad: Integers,
    seconds: float,
    bounds: tuple[float, float],
) -> Array:
    """1 / overdispersion of a window with these totals, from what was known before, within the bounds."""
    clumps = (known.chi2 + PRIOR_TESTS / ASSUMED_KAPPA) / (known.df + PRIOR_TESTS)
    noise = np.maximum(known.excess + PRIOR_NOISE * PRIOR_SPREAD, 0) / (known.spread + PRIOR_SPREAD)
    information = evidence.tendency(n_c, n_b, bad, np.ones(np.shape(n_c)))[1]
    dispersion = clumps + noise * information * (BLOCK / seconds)
    return np.clip(1 / np.maximum(dispersion, 1e-9), *bounds)


def observe(
    known: Dispersion, n_c: Integers, x_c: Integers, n_b: Integers, x_b: Integers, chi2: Array, df: Array,
    seconds: float,
) -> Dispersion:  # fmt: skip
    """What is known after one more window."""
    mean, variance = evidence.tendency(n_c, n_b, x_c + x_b, (known.up + 1) / (known.down + 1))
    requests, block = np.maximum(n_c + n_b, 1), known.block
    grown = replace(
        known,
        chi2=known.chi2 + chi2,
        df=known.df + df,
        up=known.up + x_c * (n_b - x_b) / requests,
        down=known.down + x_b * (n_c - x_c) / requests,
        block=replace(
            block,
            score=block.score + x_c - mean,
            variance=block.variance + variance,
            seconds=block.seconds + seconds,
        ),
    )
    return _closed(grown) if grown.block.seconds >= BLOCK else grown


def _closed(known: Dispersion) -> Dispersion:
    """The minute compared with the one before: half their squared difference is 1 by chance alone."""
    block = known.block
    informative = block.variance > 0
    surprise = np.where(
        informative, block.score / np.sqrt(np.where(informative, block.variance, 1.0)), np.nan
    )
    both = informative & ~np.isnan(block.last)
    return replace(
        known,
        excess=known.excess + np.where(both, 0.5 * (surprise - block.last) ** 2 - 1, 0.0),
        spread=known.spread + np.where(both, 0.5 * (block.variance + block.last_variance), 0.0),
        block=Block(
            score=np.zeros_like(block.score),
            variance=np.zeros_like(block.variance),
            last=np.where(informative, surprise, block.last),
            last_variance=np.where(informative, block.variance, block.last_variance),
        ),
    )
