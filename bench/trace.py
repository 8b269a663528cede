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
    intervals = windows()
    n_c = np.empty((rollouts, intervals), dtype=np.int64)
    bad_c = np.empty((rollouts, intervals, CELLS), dtype=np.int64)
    pods_n = np.empty((rollouts, intervals, PODS), dtype=np.int64)
    pods_bad = np.empty((rollouts, intervals, PODS, CELLS), dtype=np.int64)
    excess = np.empty((rollouts, intervals))
    for i in range(rollouts):
        counted = _one(trace, scenario, copies, rng)
        n_c[i], bad_c[i], pods_n[i], pods_bad[i], excess[i] = counted
    step = np.repeat(np.arange(len(STEPS)), STEP_MINUTES * PER_MINUTE)
    counted_in = np.arange(intervals) % (STEP_MINUTES * PER_MINUTE) >= INITIAL_DELAY
    return Stream(n_c, bad_c, pods_n, pods_bad, step, counted_in, excess)


def _one(
    trace: Trace, scenario: Scenario, copies: int, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers, Integers, Array]:
    intervals, length = windows(), trace.times[-1] + 1
    laps = int(np.ceil(intervals * SECONDS / length)) + 1
    starts = rng.uniform(0, length, copies)
    times = np.concatenate([trace.times + lap * length - start for start in starts for lap in range(laps)])
    prompts = np.tile(trace.prompts, copies * laps)
    inside = (times >= 0) & (times < intervals * SECONDS)
    times, prompts = times[inside], prompts[inside]
    interval = (times / SECONDS).astype(np.int64)
    canary = rng.random(len(interval)) < np.repeat(STEPS, STEP_MINUTES * PER_MINUTE)[interval]
    drift, pace = ar1(rng, 1, scenario.drift)[0], 0.2 * ar1(rng, 1, scenario.drift)[0]
    odds = (
        np.where(canary, scenario.odds(interval.astype(float)), 1.0)
        * np.exp(drift[interval])
        * FAILING
        / (1 - FAILING)
    )
    failed = rng.random(len(interval)) < odds / (1 + odds)
    usual = (BASE + prompts * PER_TOKEN) * np.exp(pace[interval] + rng.normal(0, JITTER, len(interval)))
    slow = np.where(rng.random(len(interval)) < scenario.slow, 8.0, 1.0)
    taken = usual * np.where(canary, scenario.factor(interval.astype(float)) * slow, 1.0)
    bad = np.stack([failed, *(taken > threshold for threshold in THRESHOLDS)], axis=-1)
    place = np.where(canary, 0, 1 + rng.integers(0, PODS, len(interval)))
    index = interval * (PODS + 1) + place
    size = intervals * (PODS + 1)
    n = np.bincount(index, minlength=size).reshape(intervals, PODS + 1).astype(np.int64)
    counts = np.stack([np.bincount(index, bad[:, j], size) for j in range(CELLS)], axis=-1)
    counted = counts.reshape(intervals, PODS + 1, CELLS).astype(np.int64)
    worse = canary & ((failed & (rng.random(len(interval)) > FAILING)) | ((taken > 1) & (usual <= 1)))
    excess = np.bincount(interval, worse, intervals).astype(float)
    return n[:, 0], counted[:, 0], n[:, 1:], counted[:, 1:], excess
