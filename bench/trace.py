"""Rollouts on a recorded trace: arrivals and lengths are real, arms, pods and failures drawn.

The trace is a CSV with columns TIMESTAMP, ContextTokens, GeneratedTokens; set TRACE to its path. An hour is
played from a random start, in a circle, for the length of a rollout; `copies` of it at other starts at once
make more traffic. The time to first token grows with the prompt.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from bench.streams import (
    CELLS,
    FAILING,
    INITIAL_DELAY,
    PER_MINUTE,
    PODS,
    SECONDS,
    STEP_MINUTES,
    STEPS,
    THRESHOLDS,
    Array,
    Integers,
    Scenario,
    Stream,
    ar1,
    windows,
)

BASE, PER_TOKEN, JITTER = 0.06, 1 / 12_000, 0.3  # seconds; seconds a prompt token; sd of the log


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrival times (s, from the first) and prompt tokens."""

    times: Array
    prompts: Array


def read(path: Path) -> Trace:
    """Raises OSError, KeyError or ValueError when the file is not such a trace."""
    with path.open() as file:
        rows = [(row["TIMESTAMP"], row["ContextTokens"]) for row in csv.DictReader(file)]
    at = np.array([datetime.fromisoformat(time[:26]).timestamp() for time, _ in rows])
    return Trace(at - at[0], np.array([float(tokens) for _, tokens in rows]))


def draw(trace: Trace, scenario: Scenario, copies: int, rollouts: int, rng: np.random.Generator) -> Stream:
    """Counts of many rollouts; of the scenario the drift and the regression are used."""
    ticks = windows()
    n_c = np.empty((rollouts, ticks), dtype=np.int64)
    bad_c = np.empty((rollouts, ticks, CELLS), dtype=np.int64)
    pods_n = np.empty((rollouts, ticks, PODS), dtype=np.int64)
    pods_bad = np.empty((rollouts, ticks, PODS, CELLS), dtype=np.int64)
    excess = np.empty((rollouts, ticks))
    for i in range(rollouts):
        counted = _one(trace, scenario, copies, rng)
        n_c[i], bad_c[i], pods_n[i], pods_bad[i], excess[i] = counted
    step = np.repeat(np.arange(len(STEPS)), STEP_MINUTES * PER_MINUTE)
    settled = np.arange(ticks) % (STEP_MINUTES * PER_MINUTE) >= INITIAL_DELAY
    return Stream(n_c, bad_c, pods_n, pods_bad, step, settled, excess)


def _one(
    trace: Trace, scenario: Scenario, copies: int, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers, Integers, Array]:
    ticks, length = windows(), trace.times[-1] + 1
    laps = int(np.ceil(ticks * SECONDS / length)) + 1
    starts = rng.uniform(0, length, copies)
    times = np.concatenate([trace.times + lap * length - start for start in starts for lap in range(laps)])
    prompts = np.tile(trace.prompts, copies * laps)
    inside = (times >= 0) & (times < ticks * SECONDS)
    times, prompts = times[inside], prompts[inside]
    tick = (times / SECONDS).astype(np.int64)
    canary = rng.random(len(tick)) < np.repeat(STEPS, STEP_MINUTES * PER_MINUTE)[tick]
    drift, pace = ar1(rng, 1, scenario.drift)[0], 0.2 * ar1(rng, 1, scenario.drift)[0]
    odds = (
        np.where(canary, scenario.odds(tick.astype(float)), 1.0)
        * np.exp(drift[tick])
        * FAILING
        / (1 - FAILING)
    )
    failed = rng.random(len(tick)) < odds / (1 + odds)
    usual = (BASE + prompts * PER_TOKEN) * np.exp(pace[tick] + rng.normal(0, JITTER, len(tick)))
    slow = np.where(rng.random(len(tick)) < scenario.slow, 8.0, 1.0)
    taken = usual * np.where(canary, scenario.factor(tick.astype(float)) * slow, 1.0)
    bad = np.stack([failed, *(taken > threshold for threshold in THRESHOLDS)], axis=-1)
    place = np.where(canary, 0, 1 + rng.integers(0, PODS, len(tick)))
    index = tick * (PODS + 1) + place
    size = ticks * (PODS + 1)
    n = np.bincount(index, minlength=size).reshape(ticks, PODS + 1).astype(np.int64)
    counts = np.stack([np.bincount(index, bad[:, j], size) for j in range(CELLS)], axis=-1)
    counted = counts.reshape(ticks, PODS + 1, CELLS).astype(np.int64)
    worse = canary & ((failed & (rng.random(len(tick)) > FAILING)) | ((taken > 1) & (usual <= 1)))
    excess = np.bincount(tick, worse, ticks).astype(float)
    return n[:, 0], counted[:, 0], n[:, 1:], counted[:, 1:], excess
