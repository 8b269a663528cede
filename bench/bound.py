"""How fast anything could be: the time at which a known regression has told ln(1/alpha) nats."""

from __future__ import annotations

import numpy as np

from bench.streams import (
    INITIAL_DELAY,
    PER_MINUTE,
    SECONDS,
    STEP_MINUTES,
    STEPS,
    Array,
    Scenario,
    shares,
    windows,
)


def minutes_to_tell(scenario: Scenario, alpha: float) -> float:
    """Minutes until the counts of both arms, all thresholds together, have told enough; infinite: never."""
    t = np.arange(windows(), dtype=float)
    still = np.zeros((1, len(t)))
    canary, stable = (shares(scenario, still, still, t, canary=arm)[0] for arm in (True, False))
    weight = np.repeat(STEPS, STEP_MINUTES * PER_MINUTE)[:, None]
    nats = _told(canary[:, :1], stable[:, :1], weight) + _told(canary[:, 1:], stable[:, 1:], weight)
    nats *= scenario.rate * SECONDS * (t % (STEP_MINUTES * PER_MINUTE) >= INITIAL_DELAY)
    told = np.cumsum(nats)
    enough = told >= np.log(1 / alpha)
    return float((np.argmax(enough) + 1) / PER_MINUTE) if enough[-1] else np.inf


def _told(canary: Array, stable: Array, weight: Array) -> Array:
    """Nats a request that the class of a request (between which thresholds) tells about its arm."""
    one, other = _classes(canary), _classes(stable)
    both = weight * one + (1 - weight) * other
    told: Array = (weight * _divergence(one, both) + (1 - weight) * _divergence(other, both)).sum(axis=1)
    return told


def _classes(slower: Array) -> Array:
    ends = np.concatenate([np.ones_like(slower[:, :1]), slower, np.zeros_like(slower[:, :1])], axis=1)
    return np.asarray(np.maximum(ends[:, :-1] - ends[:, 1:], 1e-300))


def _divergence(p: Array, q: Array) -> Array:
    return np.asarray(p * np.log(p / q))
