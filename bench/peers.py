"""How other tools decide, as running statistics: an alarm is raised when one reaches its threshold.

Each function gives rollouts x windows x metrics. Metrics are watched apart, as these tools do; thresholds are
the tools' usual ones, or tuned (see `bench.judge`).
"""

from __future__ import annotations

import numpy as np

from bench.streams import PER_MINUTE, THRESHOLDS, Array, Integers, Stream

TOLERANCE = 0.25  # Kayenta's: how far a shift must exceed, as a part of its own estimate


def z_test(stream: Stream) -> Array:
    """The largest pooled z of failures and of each latency threshold, over everything counted so far."""
    keep = stream.counted[:, None]
    n_c, n_b = (np.cumsum(n * stream.counted, axis=1)[..., None] for n in (stream.n_c, stream.n_b))
    x_c, x_b = (np.cumsum(x * keep, axis=1) for x in (stream.bad_c, stream.bad_b))
    share = (x_c + x_b) / np.maximum(n_c + n_b, 1)
    variance = share * (1 - share) * (1 / np.maximum(n_c, 1) + 1 / np.maximum(n_b, 1))
    difference = x_c / np.maximum(n_c, 1) - x_b / np.maximum(n_b, 1)
    z = np.where(variance > 0, difference / np.sqrt(np.where(variance > 0, variance, 1)), 0.0)
    return np.asarray(z.max(axis=2, keepdims=True))


def kayenta(stream: Stream) -> Array:
    """Mann-Whitney on the series of minutes: normal score of a shift beyond a quarter of its estimate."""
    canary, stable = minutes(stream.n_c, stream.bad_c, 1), minutes(stream.n_b, stream.bad_b, 1)
    keep = stream.counted[::PER_MINUTE]
    rollouts, intervals, metrics = canary.shape
    statistic = np.zeros((rollouts, intervals, metrics))
    for m in range(metrics):
        for t in range(intervals):
            past = np.flatnonzero(keep[: t + 1])
            if keep[t] and len(past) >= 5:
                statistic[:, t, m] = _mann_whitney(canary[:, past, m], stable[:, past, m])
            elif t:
                statistic[:, t, m] = statistic[:, t - 1, m]
    return by_window(statistic, stream)


def _mann_whitney(canary: Array, stable: Array) -> Array:
    differences = (canary[:, :, None] - stable[:, None, :]).astype(np.float32).reshape(len(canary), -1)
    estimate = np.median(differences, axis=1)
    below = (differences <= TOLERANCE * estimate[:, None]).sum(axis=1)
    size = canary.shape[1]
    score: Array = (size * size / 2 - below) / np.sqrt(size * size * (2 * size + 1) / 12)
    return score


def counter(stream: Stream, failures: int, span: int, *, each_step: bool) -> Array:
    """The `failures`-th largest so far of failing share and 95th percentile over `span` minutes.

    With a threshold on the value this counts failed checks: over the whole rollout, as Flagger does, or in
    each step anew, as Argo's analysis runs do.
    """
    values = minutes(stream.n_c, stream.bad_c, span)
    values[:, ~stream.counted[::PER_MINUTE]] = 0
    rollouts, intervals, metrics = values.shape
    step = stream.step[::PER_MINUTE]
    top, statistic = np.zeros((rollouts, failures, metrics)), np.zeros(values.shape)
    for t in range(intervals):
        if each_step and t and step[t] != step[t - 1]:
            top[:] = 0
        top = -np.sort(-np.concatenate([top, values[:, t, None]], axis=1), axis=1)[:, :failures]
        statistic[:, t] = top[:, -1]
    return by_window(statistic, stream)


def minutes(n: Integers, bad: Integers, span: int) -> Array:
    """Failing share and 95th percentile of the time to first token over `span` minutes, each minute."""
    size = span * PER_MINUTE
    n_sum, bad_sum = _moving(n[..., None], size), _moving(bad, size)
    share = bad_sum[..., 0] / np.maximum(n_sum[..., 0], 1)
    return np.stack([share, _p95(n_sum[..., 0], bad_sum[..., 1:])], axis=-1)[:, PER_MINUTE - 1 :: PER_MINUTE]


def _moving(values: Integers, size: int) -> Integers:
    total = np.cumsum(values, axis=1)
    total[:, size:] -= total[:, :-size].copy()
    return total


def _p95(n: Integers, slower: Integers) -> Array:
    """Interpolated between the thresholds as Prometheus does; the largest threshold beyond it."""
    within = np.concatenate([np.zeros_like(n)[..., None], n[..., None] - slower], axis=-1)
    wanted = 0.95 * n
    place = np.clip((within < wanted[..., None]).sum(axis=-1), 1, len(THRESHOLDS))
    bounds = np.array([0.0, *THRESHOLDS])
    low = np.take_along_axis(within, place[..., None] - 1, axis=-1)[..., 0]
    high = np.take_along_axis(within, place[..., None], axis=-1)[..., 0]
    part = np.clip((wanted - low) / np.maximum(high - low, 1), 0, 1)
    return np.where(n > 0, bounds[place - 1] + (bounds[place] - bounds[place - 1]) * part, 0.0)


def by_window(values: Array, stream: Stream) -> Array:
    """What is known each minute, on the finer grid: nothing before the first minute has ended."""
    known = np.repeat(values, PER_MINUTE, axis=1)
    known = np.roll(known, PER_MINUTE - 1, axis=1)
    known[:, : PER_MINUTE - 1] = 0
    return known[:, : len(stream.step)]
