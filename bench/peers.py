"""How others decide, as running statistics: an alarm is raised when one reaches its threshold.

Each function gives rollouts x windows x tests; thresholds are tuned (see `bench.rules`). Kayenta's judge is a
Mann-Whitney test on the series of minutes of the failing share and the 95th percentile. The two others come
from the literature and look at each cell's stratified score (Cochran, Mantel and Haenszel; a stratum is a
window): a group-sequential test after every window, and a mixture sequential probability ratio test (Robbins
1970; Johari, Pekelis and Walsh 2017).
"""

from __future__ import annotations

import numpy as np

from bench.traffic import PER_MINUTE, Array, Integers, Stream
from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.metrics import Latency
from inference_rollouts.core.judging.rules import Rules

TOLERANCE = 0.25  # Kayenta's: how far a shift must exceed, as a part of its own estimate
EFFECT = 0.5  # sd of the log odds that the mixture expects


def score(stream: Stream) -> tuple[Array, Array]:
    """The running score of each cell and its variance."""
    (n_c, n_b), (x_c, x_b) = stream.n, stream.bad
    mean, variance = evidence.tendency(n_c, n_b, x_c + x_b, np.ones(n_c.shape))
    return np.cumsum(np.where(variance > 0, x_c - mean, 0), axis=1), np.cumsum(variance, axis=1)


def group_sequential(stream: Stream, rules: Rules) -> Array:
    """z of each cell; its own number of events makes it worth looking at."""
    total, variance = score(stream)
    return np.where(variance > 3, total / np.sqrt(np.maximum(variance, 1e-9)), 0.0)


def mixture(stream: Stream, rules: Rules) -> Array:
    """ln of the mixture likelihood ratio of each cell, of scores that are too high."""
    total, variance = score(stream)
    spread = 1 + EFFECT**2 * variance
    ratio = EFFECT**2 * total**2 / (2 * spread) - np.log(spread) / 2
    return np.where(total > 0, ratio, 0.0)


def kayenta(stream: Stream, rules: Rules) -> Array:
    """Normal score of a shift beyond a quarter of its estimate, of each judged metric."""
    keep = np.asarray(stream.scenario.layout.counted.reshape(-1, PER_MINUTE).min(axis=1))
    series = [_minutes(stream, rules, m.name) for m in rules.metric_set.compared]
    statistics = []
    for canary, stable in series:
        statistic = np.zeros(canary.shape)
        for t in range(1, canary.shape[1]):
            past = np.flatnonzero(keep[: t + 1])
            fresh = keep[t] and len(past) >= 5
            statistic[:, t] = (
                _mann_whitney(canary[:, past], stable[:, past]) if fresh else statistic[:, t - 1]
            )
        statistics.append(statistic)
    known = np.repeat(np.stack(statistics, axis=-1), PER_MINUTE, axis=1)
    known = np.roll(known, PER_MINUTE - 1, axis=1)
    known[:, : PER_MINUTE - 1] = 0
    return known


def _mann_whitney(canary: Array, stable: Array) -> Array:
    differences = (canary[:, :, None] - stable[:, None, :]).astype(np.float32).reshape(len(canary), -1)
    estimate = np.median(differences, axis=1)
    below = (differences <= TOLERANCE * estimate[:, None]).sum(axis=1)
    size = canary.shape[1]
    result: Array = (size * size / 2 - below) / np.sqrt(size * size * (2 * size + 1) / 12)
    return result


def _minutes(stream: Stream, rules: Rules, name: str) -> list[Array]:
    """Of both arms and each minute: the failing share, or the 95th percentile between thresholds."""
    metric, place = rules.metric_set[name], rules.places[name]

    def by_minute(values: Integers) -> Integers:
        return np.asarray(values.reshape(len(values), -1, PER_MINUTE, values.shape[-1]).sum(axis=2))

    series = []
    for n, bad in zip(by_arm(stream.n), by_arm(stream.bad), strict=True):
        events, slower = by_minute(n[..., place])[..., 0], by_minute(bad[..., place])
        if isinstance(metric, Latency):
            series.append(_p95(events, slower, np.array([0.0, *metric.thresholds])))
        else:
            series.append(slower[..., 0] / np.maximum(events, 1))
    return series


def by_arm(values: Integers) -> list[Integers]:
    return [values[0], values[1]]


def _p95(n: Integers, slower: Integers, bounds: Array) -> Array:
    """Interpolated between the thresholds as Prometheus does; the largest threshold beyond it."""
    within = np.concatenate([np.zeros_like(n)[..., None], n[..., None] - slower], axis=-1)
    wanted = 0.95 * n
    place = np.clip((within < wanted[..., None]).sum(axis=-1), 1, len(bounds) - 1)
    low = np.take_along_axis(within, place[..., None] - 1, axis=-1)[..., 0]
    high = np.take_along_axis(within, place[..., None], axis=-1)[..., 0]
    part = np.clip((wanted - low) / np.maximum(high - low, 1), 0, 1)
    return np.where(n > 0, bounds[place - 1] + (bounds[place] - bounds[place - 1]) * part, 0.0)
