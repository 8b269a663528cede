"""Our judge for many rollouts at once, from the same parts as `inference_rollouts.core.judging.sums`."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bench.streams import CELLS, SECONDS, THRESHOLDS, Array, Stream
from inference_rollouts.core.judging import evidence, overdispersion
from inference_rollouts.core.judging.sums import gamma

WEIGHTS = np.array([0.5, *(0.5 / len(THRESHOLDS) for _ in THRESHOLDS)])  # failures and latency count the same
BOUNDS = (0.1, 1.0)
Kappa = float | Literal["estimate"]


def increments(stream: Stream) -> Array:
    """Log likelihood ratios: rollouts x windows x cells x effects; nothing during a step's initial delay."""
    shape = stream.bad_c.shape
    n_c, n_b = (np.broadcast_to(n[..., None], shape).ravel() for n in (stream.n_c, stream.n_b))
    effects = np.broadcast_to(np.log(evidence.WORSE_ODDS), (n_c.size, len(evidence.WORSE_ODDS)))
    ratios = evidence.odds_increments(
        n_c, stream.bad_c.ravel(), n_b, stream.bad_b.ravel(), effects, np.zeros(n_c.size)
    )
    gains = ratios.reshape(shape + ratios.shape[1:])
    return np.asarray(gains * stream.counted[:, None, None])


def kappas(stream: Stream, kappa: Kappa) -> Array:
    """The discount of every window: rollouts x windows x cells."""
    if kappa != "estimate":
        return np.full(stream.bad_c.shape, kappa)
    discounts = np.empty(stream.bad_c.shape)
    known = overdispersion.nothing_known(len(stream.n_c), CELLS)
    n_b, bad_b = stream.n_b, stream.bad_b
    chi2, df = pearson(stream)
    for t in range(len(stream.step)):
        n, m, bad, usual = stream.n_c[:, t, None], n_b[:, t, None], stream.bad_c[:, t], bad_b[:, t]
        if t and stream.step[t] != stream.step[t - 1]:
            known = overdispersion.without_block(known)
        discounts[:, t] = overdispersion.kappa(known, n, m, bad + usual, SECONDS, BOUNDS)
        if stream.counted[t]:
            known = overdispersion.observe(known, n, bad, m, usual, chi2[:, t], df[:, t], SECONDS)
    return discounts


def pearson(stream: Stream) -> tuple[Array, Array]:
    """Stable's pods against each other, as `counts` does it for one rollout."""
    n, bad = stream.pods_n[..., None], stream.pods_bad
    share = bad.sum(axis=2) / np.maximum(n.sum(axis=2), 1)
    variance = n * (share * (1 - share))[:, :, None]
    some = variance > 0
    chi2 = np.where(some, (bad - n * share[:, :, None]) ** 2 / np.where(some, variance, 1), 0).sum(axis=2)
    df = np.maximum(some.sum(axis=2) - 1, 0).astype(float)
    return _by_metric(chi2), _by_metric(df)


def _by_metric(values: Array) -> Array:
    """Sums over the thresholds of the latency, for each of its cells."""
    latency = values[..., 1:].sum(axis=-1, keepdims=True)
    return np.concatenate([values[..., :1], np.broadcast_to(latency, values[..., 1:].shape)], axis=-1)


def log_evidence(stream: Stream, gains: Array, discounts: Array) -> Array:
    """ln E of all metrics together after every window: rollouts x windows."""
    rollouts, intervals = stream.n_c.shape
    steps = int(stream.step.max()) + 1
    alarm = np.full((rollouts, CELLS, gains.shape[3]), -np.inf)
    evidence_of = np.empty((rollouts, intervals))
    prior = -np.log(gains.shape[3])
    for t in range(intervals):
        step = int(stream.step[t]) + 1
        if t == 0 or stream.step[t] != stream.step[t - 1]:
            alarm = np.logaddexp(alarm, np.log(gamma(step, steps)))
        alarm = alarm + discounts[:, t, :, None] * gains[:, t]
        unbegun = sum(gamma(later, steps) for later in range(step + 1, steps + 1))
        mixed = evidence.log_sum(evidence.log_sum(alarm + prior) + np.log(WEIGHTS))
        evidence_of[:, t] = np.logaddexp(mixed, evidence.log(np.array(unbegun)))
    return evidence_of
