"""Simulated rollouts: counts of both arms, window by window, under nulls and regressions.

A rollout moves 5, 10, 25, 50 % of the traffic to the canary, twenty minutes each. Requests arrive at random;
the log odds of failing and the log of the time to first token drift, the same for both arms. Everything is
drawn for many rollouts at once: arrays are rollouts x windows (x cells).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

SECONDS = 30.0  # of one window
PER_MINUTE = 2
STEPS = (0.05, 0.10, 0.25, 0.50)
STEP_MINUTES = 20
INITIAL_DELAY = 4  # windows dropped after each shift, by every rule
PODS = 4  # of stable
THRESHOLDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds to the first token
SLOW = 1 + THRESHOLDS.index(1.0)  # the cell of requests that a person notices as slow
CELLS = 1 + len(THRESHOLDS)  # failed requests, then slower than each threshold
FAILING, MEDIAN, SPREAD = 0.01, 0.3, 0.6


@dataclass(frozen=True, slots=True)
class Stream:
    """What was counted. `bad[..., 0]` failed; the other cells were slower than each threshold.

    `pods_n` and `pods_bad` are stable's counts by pod (rollouts x windows x pods x cells). `excess` is how
    many requests of the canary failed, or took over a second, that stable would have served well.
    """

    n_c: Integers
    bad_c: Integers
    pods_n: Integers
    pods_bad: Integers
    step: Integers
    counted: NDArray[np.bool_]
    excess: Array

    @property
    def n_b(self) -> Integers:
        return np.asarray(self.pods_n.sum(axis=2))

    @property
    def bad_b(self) -> Integers:
        return np.asarray(self.pods_bad.sum(axis=2))


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens. Functions of the window (0, 1, ...) tell the canary's regression.

    `odds`: the canary's odds of failing over stable's; `factor`: its times over stable's; `slow` a share of
    its requests eight times slower; `noise`: sd of the log odds that move every minute, (canary, stable);
    `guaranteed`: a null in which requests are independent and the arms alike.
    """

    name: str
    rate: float = 20.0
    drift: float = 0.0
    trend: Callable[[Array], Array] = field(default=lambda t: 0.0 * t)
    noise: tuple[float, float] = (0.0, 0.0)
    clump: int = 1
    odds: Callable[[Array], Array] = field(default=lambda t: 1.0 + 0.0 * t)
    factor: Callable[[Array], Array] = field(default=lambda t: 1.0 + 0.0 * t)
    slow: float = 0.0
    guaranteed: bool = False


def windows() -> int:
    return len(STEPS) * STEP_MINUTES * PER_MINUTE


def _cold(t: Array) -> Array:
    """Twice as slow at each shift, half of that gone every twenty seconds."""
    since = (t % (STEP_MINUTES * PER_MINUTE)) * SECONDS
    return 1 + np.exp2(-since / 20)


def _after(minute: float, value: float) -> Callable[[Array], Array]:
    return lambda t: np.where(t >= minute * PER_MINUTE, value, 1.0)


def _always(value: float) -> Callable[[Array], Array]:
    return lambda t: value + 0.0 * t


def _half_day(t: Array) -> Array:
    return 1.2 * np.sin(np.pi * t / windows())


DRIFT = 0.5
NULLS = (
    Scenario("steady", guaranteed=True),
    Scenario("shared drift", guaranteed=True, drift=DRIFT),
    Scenario("diurnal", guaranteed=True, drift=0.2, trend=_half_day),
    Scenario("low traffic", guaranteed=True, rate=1.0, drift=DRIFT),
    Scenario("cold caches", drift=DRIFT, factor=_cold),
    Scenario("noise of each arm", drift=DRIFT, noise=(0.35, 0.35)),
    Scenario("noise of the canary alone", drift=DRIFT, noise=(0.5, 0.0)),
    Scenario("clumps of 5", drift=DRIFT, clump=5),
)
REGRESSIONS = (
    Scenario("failures, odds 1.5", drift=DRIFT, odds=_always(1.5)),
    Scenario("failures, odds 2", drift=DRIFT, odds=_always(2.0)),
    Scenario("failures, odds 3", drift=DRIFT, odds=_always(3.0)),
    Scenario("TTFT x 1.1", drift=DRIFT, factor=_always(1.1)),
    Scenario("TTFT x 1.25", drift=DRIFT, factor=_always(1.25)),
    Scenario("TTFT x 2", drift=DRIFT, factor=_always(2.0)),
    Scenario("2 % of requests x 8", drift=DRIFT, slow=0.02),
    Scenario("odds 3 from minute 40", drift=DRIFT, odds=_after(40, 3.0)),
    Scenario("odds 3 from minute 50", drift=DRIFT, odds=_after(50, 3.0)),
    Scenario("slow leak, odds 1 to 5", drift=DRIFT, odds=lambda t: 5.0 ** (t / windows())),
)


def draw(scenario: Scenario, rollouts: int, rng: np.random.Generator) -> Stream:
    """Counts of `rollouts` independent rollouts."""
    t = np.arange(windows(), dtype=float)
    step = np.repeat(np.arange(len(STEPS)), STEP_MINUTES * PER_MINUTE)
    drift = ar1(rng, rollouts, scenario.drift) + scenario.trend(t)
    pace = 0.2 * ar1(rng, rollouts, scenario.drift) + 0.1 * scenario.trend(t)
    weight = np.array(STEPS)[step]
    load = scenario.rate * SECONDS * np.exp(0.3 * scenario.trend(t))
    noise_c, noise_b = (_by_minute(rng, rollouts, sd) for sd in scenario.noise)
    canary = shares(scenario, drift + noise_c, pace + 0.2 * noise_c, t, canary=True)
    stable = shares(scenario, drift + noise_b, pace + 0.2 * noise_b, t, canary=False)
    usual = shares(scenario, drift + noise_c, pace + 0.2 * noise_c, t, canary=False)
    n_c = _arrivals(rng, load * weight, (rollouts, len(t)), scenario.clump)
    pods_n = _arrivals(rng, (load * (1 - weight) / PODS)[:, None], (rollouts, len(t), PODS), scenario.clump)
    return Stream(
        n_c=n_c,
        bad_c=_bad(rng, n_c, canary, scenario.clump),
        pods_n=pods_n,
        pods_bad=_bad(rng, pods_n, stable[:, :, None, :], scenario.clump),
        step=step,
        counted=np.arange(len(t)) % (STEP_MINUTES * PER_MINUTE) >= INITIAL_DELAY,
        excess=n_c * np.maximum(canary - usual, 0)[..., [0, SLOW]].sum(axis=2),
    )


def ar1(rng: np.random.Generator, rollouts: int, sd: float) -> Array:
    """Slow drift: half of it forgotten in ten minutes."""
    keep = 0.5 ** (1 / (10 * PER_MINUTE))
    steps = rng.normal(0, sd, (rollouts, windows()))
    steps[:, 1:] *= np.sqrt(1 - keep**2)
    for i in range(1, windows()):
        steps[:, i] += keep * steps[:, i - 1]
    return steps


def _by_minute(rng: np.random.Generator, rollouts: int, sd: float) -> Array:
    return np.asarray(np.repeat(rng.normal(0, sd, (rollouts, windows() // PER_MINUTE)), PER_MINUTE, axis=1))


def shares(scenario: Scenario, drift: Array, pace: Array, t: Array, *, canary: bool) -> Array:
    """Bad shares: rollouts x windows x cells."""
    log_odds = np.log(FAILING / (1 - FAILING)) + drift
    log_time = np.log(MEDIAN) + pace
    slow = 0.0
    if canary:
        log_odds = log_odds + np.log(scenario.odds(t))
        log_time = log_time + np.log(scenario.factor(t))
        slow = scenario.slow
    over = [(np.log(threshold) - log_time) / SPREAD for threshold in THRESHOLDS]
    slower = [(1 - slow) * _tail(z) + slow * _tail(z - np.log(8) / SPREAD) for z in over]
    return np.stack([1 / (1 + np.exp(-log_odds)), *slower], axis=-1)


def _tail(z: Array) -> Array:
    """P(normal > z), to 1e-7 (Abramowitz and Stegun 26.2.17)."""
    x = np.abs(z)
    k = 1 / (1 + 0.2316419 * x)
    poly = k * (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    upper = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * poly
    return np.asarray(np.where(z >= 0, upper, 1 - upper))


def _arrivals(rng: np.random.Generator, mean: Array, shape: tuple[int, ...], clump: int) -> Integers:
    return np.asarray(rng.poisson(np.broadcast_to(mean / clump, shape)) * clump)


def _bad(rng: np.random.Generator, n: Integers, shares: Array, clump: int) -> Integers:
    """Bad counts; clumped requests share their fate. Slower than one threshold is slower than those below."""
    left = n // clump
    failed = rng.binomial(left, np.broadcast_to(shares[..., 0], left.shape))
    cells, above, before = [failed * clump], left, np.ones_like(shares[..., 0])
    for j in range(1, shares.shape[-1]):
        chance = np.clip(shares[..., j] / np.maximum(before, 1e-300), 0, 1)
        above = rng.binomial(above, np.broadcast_to(chance, above.shape))
        cells.append(above * clump)
        before = shares[..., j]
    return np.stack(cells, axis=-1)
