"""Overdispersion: how much evidence to believe when counts scatter more than those of independent requests.

Tokens of one answer, answers of one batch, requests of one client share their fate; a pod may be a little
slower than its neighbours, for a while or for long. Pods and minutes are the units that repeat, so they tell,
by how many times their counts scatter more than chance has them:

- stable's pods, which should be alike, window by window, and in all that they counted in this step so far:
  what differs for a while, and what lasts (Pearson's chi-square). Windows weigh as much as they tell: a rare
  burst in one pod has most of what is bad, and nearly all of what scatters;
- the pods of either arm in the window itself: the first burst in one pod of the canary is one surprise, not
  as many as it has bad events;
- the canary's surprises about its own average odds ratio, one stretch of 1, 2, 4, 8 minutes against the next:
  noise of one arm, at whatever pace it moves. Noise comes back and a regression does not, so falls alone are
  counted, twice. It is a variance of the log odds, so it counts the more, the more is counted. Common drift,
  a lasting difference between the arms and a canary that turns bad leave no trace there, once a stretch has
  counts enough: of one event where a tenth is expected neither the surprise nor the fall after it is noise.

The largest of these is what evidence is divided by. Of minutes only those that are past are used. How an
arm's bad events spread over its pods says next to nothing about how many they are, given those of both arms:
so the pods of the window itself may be asked, and discounted evidence stays valid where the dispersion is as
estimated. Arrays have one value a cell in their last axis; leading axes are free.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.evidence import Array, Integers

BLOCK = 60.0  # seconds of the shortest stretch
LEVELS = 4  # stretches of 1, 2, 4 and 8 of these
ENOUGH = 3.0  # variance of the canary's bad count from which on a stretch is compared with the next
PRIOR_TESTS = 1.0  # degrees of freedom that what is assumed before anything is known is worth...
PRIOR_RATIO = 3.0  # ...of pods: the chi-square over its degrees of freedom, as of requests in clumps of three
WINDOW_MOST = 10.0  # times: a pod of the canary that fails altogether is no burst, and is seen within windows
FEW = 4.0  # tests that "no more than chance" is worth where there are few: of what lasts, and of minutes
PRIOR_NOISE = 0.1  # standard deviation of one arm's log odds assumed at first...
PRIOR_MOST = 3.0  # ...adding so much dispersion at most: a canary that fails at once is seen at once
PACE = 0.4  # of what is tolerated of a latency is its own: 3 % of time where 8 % are
CHI2_CHANCE = math.sqrt(2.0)  # what chance may add to one test's square: its standard deviation...
WINDOW_CHANCE = 2 * CHI2_CHANCE  # ...two of them in a window by itself, as there are many...
FALL_CHANCE = 2 * math.sqrt(5.0)  # ...and to one pair's: two of them, as the largest of all stretches counts


@dataclass(frozen=True, slots=True, eq=False)
class Dispersion:
    """Running sums, of `cells` values each.

    `chi2`, `df`: pods against pods in each window, weighted by the variance of stable's bad count, and
    `weighed`, the degrees of freedom by its square; `lasting_chi2`, `lasting_df`: in all that they counted.
    `up`, `down`: the canary's odds ratio by Mantel and Haenszel. Of each length of stretch (levels x cells):
    `score` and `variance` of the one under way, the surprise `last` seen and its `last_variance` (0: none),
    squared falls between neighbours (`squares`) in number (`pairs`), and the information a minute with which
    they were seen (`spread`). `seconds` of the minute under way, after so many `minutes`: one of each.
    """

    chi2: Array
    df: Array
    weighed: Array
    lasting_chi2: Array
    lasting_df: Array
    up: Array
    down: Array
    score: Array
    variance: Array
    last: Array
    last_variance: Array
    squares: Array
    pairs: Array
    spread: Array
    seconds: Array
    minutes: Integers


_BY_CELL = ("chi2", "df", "weighed", "lasting_chi2", "lasting_df", "up", "down")
_BY_LEVEL = ("score", "variance", "last", "last_variance", "squares", "pairs", "spread")
_ALL = tuple(each.name for each in fields(Dispersion))


@dataclass(frozen=True, slots=True, eq=False)
class Scattered:
    """Pearson's chi-square, with its degrees of freedom, by cell: of stable's pods in one window, what that
    adds to the one of all that they counted, and of the canary's pods in the window."""

    chi2: Array
    df: Array
    lasting_chi2: Array
    lasting_df: Array
    canary_chi2: Array
    canary_df: Array


def nothing_known(*shape: int) -> Dispersion:
    """Before the first window."""
    leveled = (*shape[:-1], LEVELS, shape[-1])
    sums: dict[str, Any] = {name: np.zeros(shape) for name in _BY_CELL}
    sums |= {name: np.zeros(leveled) for name in _BY_LEVEL}
    begun = shape[:-1]
    return Dispersion(**sums, seconds=np.zeros(begun), minutes=np.zeros(begun, dtype=np.int64))


def joined(each: Sequence[Dispersion]) -> Dispersion:
    """Of several rollouts, along a new first axis."""
    return Dispersion(**{name: evidence.stacked([getattr(one, name) for one in each]) for name in _ALL})


def parted(known: Dispersion) -> list[Dispersion]:
    """The inverse of `joined`."""
    return [Dispersion(*arrays) for arrays in zip(*(getattr(known, name) for name in _ALL), strict=True)]


def kept(known: Dispersion) -> dict[str, tuple[float, ...]]:
    """What goes from step to step, as plain data: stretches reach over a shift, so that short steps show
    them."""
    return {name: tuple(np.round(getattr(known, name), 6).ravel().tolist()) for name in _ALL}


def resumed(sums: Mapping[str, Sequence[float]], cells: int) -> Dispersion:
    """The inverse of `kept`, or nothing known. Raises ValueError when the sums are not of so many cells."""
    empty = nothing_known(cells)
    if not sums:
        return empty
    shapes = {name: np.shape(getattr(empty, name)) for name in _ALL}
    if {name: len(values) for name, values in sums.items()} != {n: math.prod(s) for n, s in shapes.items()}:
        raise ValueError("the evidence of the earlier steps is of another policy or metric set")
    arrays: dict[str, Any] = {name: np.array(sums[name]).reshape(shape) for name, shape in shapes.items()}
    return Dispersion(**arrays | {"minutes": arrays["minutes"].astype(np.int64)})


def kappa(
    known: Dispersion,
    n: Integers,
    bad: Integers,
    scattered: Scattered,
    requests: Array,
    seconds: Array,
    slower: Array,
    bounds: tuple[float, float],
) -> Array:
    """1 / overdispersion of a window, within the bounds.

    `known` has the window's pods (`with_pods`) and the minutes before it. `n` are the events of canary and
    stable, `bad` the bad ones of both together; `requests` those of both: events of one request share its
    fate, as long as nothing is known. `slower`: log odds that are no regression of a latency, 0 of a rate.
    """
    n_c, n_b = n
    each = np.maximum((n_c + n_b) / np.maximum(requests, 1), 1)
    information = evidence.tendency(n_c, n_b, bad, np.ones(np.shape(n_c)))[1] * (BLOCK / seconds)[..., None]
    pods = np.maximum(between_pods(known, each), _in_this_window(n_c, n_b, scattered))
    return np.clip(1 / np.maximum(pods, 1 + _noise(known, information, slower)), *bounds)


def _in_this_window(n_c: Integers, n_b: Integers, scattered: Scattered) -> Array:
    """By how many times this window's canary count scatters more than chance has it, from the pods of both
    arms: the less traffic an arm has, the more of that is its own."""
    canary = _in_one_window(scattered.canary_chi2, scattered.canary_df)
    stable = _in_one_window(scattered.chi2, scattered.df)
    beyond = (n_b * canary + n_c * stable) / np.maximum(n_c + n_b, 1)
    return np.asarray(np.minimum(1 + beyond, WINDOW_MOST))


def _in_one_window(squares: Array, tests: Array) -> Array:
    return _beyond_chance(squares, tests, WINDOW_CHANCE) / np.maximum(tests, 1)


def between_pods(known: Dispersion, each: Array | float = 1.0) -> Array:
    """By how many times stable's pods scatter more than chance has them; `each`: events of one request."""
    assumed = PRIOR_TESTS * (PRIOR_RATIO * each - 1)
    worth = known.df / np.where(known.weighed > 0, known.weighed, 1.0)
    tests = known.df * worth  # of equal weights as many as there were
    alike = 1 + (_beyond_chance(known.chi2 * worth, tests) + assumed) / (tests + PRIOR_TESTS)
    lasting = 1 + _beyond_chance(known.lasting_chi2, known.lasting_df) / (known.lasting_df + FEW)
    return np.asarray(np.maximum(alike, lasting))


def _beyond_chance(squares: Array, tests: Array, chance: float = CHI2_CHANCE) -> Array:
    """What a sum of squares is above what chance alone would give it, and may add to that."""
    return np.maximum(squares - tests - chance * np.sqrt(tests), 0.0)


def _noise(known: Dispersion, information: Array, slower: Array) -> Array:
    """What noise of one arm adds to the dispersion of counts with this information a minute.

    The largest of all stretches, and what is assumed until the longest ones have told.
    """
    excess = _beyond_chance(known.squares, known.pairs, FALL_CHANCE)
    spread = known.spread + FEW * known.spread / np.maximum(known.pairs, 1)
    seen = np.max(excess / np.maximum(spread, 1e-9), axis=-2)
    any_arm, pace = PRIOR_NOISE**2 * information, (PACE * slower) ** 2 * information
    assumed = np.maximum(np.minimum(any_arm, PRIOR_MOST), pace)
    return np.asarray(seen * information + assumed * FEW / (known.pairs[..., -1, :] + FEW))


def with_pods(known: Dispersion, n_b: Integers, share: Array, scattered: Scattered) -> Dispersion:
    """What is known after the pods of one more window; `share` of both arms' events was bad."""
    weight = n_b * share * (1 - share)
    return replace(
        known,
        chi2=known.chi2 + weight * scattered.chi2,
        df=known.df + weight * scattered.df,
        weighed=known.weighed + weight**2 * scattered.df,
        lasting_chi2=known.lasting_chi2 + scattered.lasting_chi2,
        lasting_df=known.lasting_df + scattered.lasting_df,
    )


def with_time(known: Dispersion, n: Integers, bad: Integers, seconds: Array) -> Dispersion:
    """What is known after the time of one more window; `n`, `bad` are of canary and stable. As the canary's
    average odds move, what was surprising about those before moves with them (to first order): else learning
    them would look like a fall."""
    (n_c, n_b), (x_c, x_b) = n, bad
    odds = (known.up + 1) / (known.down + 1)
    mean, variance = evidence.tendency(n_c, n_b, x_c + x_b, odds)
    requests = np.maximum(n_c + n_b, 1)
    up, down = known.up + x_c * (n_b - x_b) / requests, known.down + x_b * (n_c - x_c) / requests
    moved = np.log((up + 1) / (down + 1) / odds)[..., None, :]
    informed = known.variance + variance[..., None, :]
    grown = replace(
        known,
        up=up,
        down=down,
        score=known.score + (x_c - mean)[..., None, :] - informed * moved,
        variance=informed,
        last=known.last - np.sqrt(known.last_variance) * moved,
        seconds=known.seconds + seconds,
    )
    over = np.asarray(grown.seconds >= BLOCK)
    return _closed(grown, over) if over.any() else grown


def _closed(known: Dispersion, over: NDArray[np.bool_]) -> Dispersion:
    """Where a minute is `over`: stretches that end with it against those before. A squared fall, or 0, is 1
    by chance."""
    minutes = known.minutes + over
    length = 2 ** np.arange(LEVELS)[:, None]
    ends = over[..., None, None] & (minutes[..., None, None] % length == 0)
    informative = ends & (known.variance >= ENOUGH)
    surprise = known.score / np.sqrt(np.maximum(known.variance, ENOUGH))
    both = informative & (known.last_variance > 0)
    square = np.where(both, np.maximum(known.last - surprise, 0.0), 0.0) ** 2
    information = 0.5 * (known.variance + known.last_variance) / length
    return replace(
        known,
        squares=known.squares + square,
        pairs=known.pairs + both,
        spread=known.spread + np.where(both, information, 0.0),
        last=np.where(informative, surprise, known.last),
        last_variance=np.where(informative, known.variance, known.last_variance),
        score=np.where(ends, 0.0, known.score),
        variance=np.where(ends, 0.0, known.variance),
        seconds=np.where(over, 0.0, known.seconds),
        minutes=minutes,
    )
