"""A metrics store in memory for the console: traffic of two pools, drawn at random with a fixed seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference_rollouts.core.judging.metrics import SERIES, STARTED, Latency, MetricSet, Rate
from inference_rollouts.core.judging.queries import series
from tests.support.asked_alike import AskedAlike

RATE = 90.0
TAILS = ("5d9c7-k2x4p", "5d9c7-q8wzn", "5d9c7-tt6rb"), ("84f6b-9vxc2", "84f6b-hn5sd", "84f6b-r7jlk")
"""How the pods of canary and stable are called, after their pools: in the store as on the cluster."""
PODS = 3


@dataclass
class Traffic(AskedAlike):
    """A metrics store in memory: both arms from `start` on, each second drawn once.

    `shares` are when the canary was given which share; `failing` and `slower` are the canary's share of
    failures, and the factor of its times. From `until` on the canary gets nothing.
    """

    metric_set: MetricSet
    arms: tuple[str, str]
    start: float
    seconds: int
    shares: Sequence[tuple[float, float]]
    failing: float = 0.004
    slower: float = 1.0
    seed: int = 1
    until: float = math.inf
    _totals: dict[tuple[int, int], Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        times = self.start + np.arange(self.seconds)
        share = np.zeros(self.seconds)
        for since, value in self.shares:
            share[times >= since] = value
        for arm in (0, 1):
            part = share if arm == 0 else 1 - share
            for pod in range(PODS):
                self._totals[arm, pod] = self._drawn(rng, rng.poisson(RATE * part / PODS), arm)

    def _drawn(self, rng: Any, n: Any, arm: int) -> dict[str, Any]:
        """Cumulative counts by metric: all, bad ones, and those within each threshold."""
        medians = {"ttft": 0.18, "inter_token": 0.032, "queue_time": 0.05, "e2e": 2.2}
        drawn: dict[str, Any] = {"n": np.cumsum(n)}
        for metric in self.metric_set.metrics:
            if isinstance(metric, Latency):
                median = medians.get(metric.name, 0.1) * (self.slower if arm == 0 else 1.0)
                buckets = rng.multinomial(n, _buckets(metric.thresholds, median))
                drawn[metric.name] = np.cumsum(np.cumsum(buckets, axis=1)[:, :-1], axis=0)
            else:
                bad = self.failing if arm == 0 else 0.004
                odds = {"errors": bad, "refused": 0.003, "cut_at_length": 0.05}.get(metric.name, 0.0)
                failed = rng.binomial(n, odds)
                good_ends = metric.direction == "lower-is-worse"
                drawn[metric.name] = np.cumsum(n - rng.binomial(n, 0.002) if good_ends else failed)
        return drawn

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        samples = self._inside if "avg_over_time" in promql else self._samples
        return [sample for arm in (0, 1) for pod in range(PODS) for sample in samples(arm, pod, at)]

    def _second(self, arm: int, at: float) -> int:
        return int(np.clip(min(at, self.until if arm == 0 else at) - self.start, 0, self.seconds - 1))

    def _sample(self, arm: int, pod: int, at: float, tag: str, value: float, **more: str) -> dict[str, Any]:
        pool = self.arms[arm]
        labels = {
            "inference_pool": pool,
            "namespace": "default",
            "pod": f"{pool}-{TAILS[arm][pod]}",
            SERIES: tag,
        }
        return {"metric": labels | more, "value": [at, str(int(value))]}

    def _inside(self, arm: int, pod: int, at: float) -> Iterator[dict[str, Any]]:
        """Requests that run and wait in a pod: those of the last two seconds, or so."""
        n, second = self._totals[arm, pod]["n"], self._second(arm, at)
        running = (n[second] - n[max(0, second - 10)]) / 10 * 2.2 * (self.slower if arm == 0 else 1.0)
        yield self._sample(arm, pod, at, "0", running)
        yield self._sample(arm, pod, at, "1", running / 12)

    def _samples(self, arm: int, pod: int, at: float) -> Iterator[dict[str, Any]]:
        totals, second = self._totals[arm, pod], self._second(arm, at)

        def sample(tag: str, value: float, **more: str) -> dict[str, Any]:
            return self._sample(arm, pod, at, tag, value, **more)

        yield sample(STARTED, 1)
        n = totals["n"][second]
        for metric in self.metric_set.metrics:
            for tag, _ in series(metric):
                if not tag.endswith("/0"):
                    continue
                if isinstance(metric, Rate):
                    yield sample(tag, totals[metric.name][second] if "/bad/" in tag else n)
                else:
                    within = zip(metric.thresholds, totals[metric.name][second], strict=True)
                    yield from (sample(tag, count, le=str(bound)) for bound, count in within)
                    yield sample(tag, n, le="+Inf")


def _buckets(thresholds: Sequence[float], median: float, sigma: float = 0.75) -> Any:
    """Of a logistic spread of the logarithm of times: the probability of each bucket."""
    within = [1 / (1 + (bound / median) ** (-1.7 / sigma)) for bound in thresholds]
    return np.diff([0.0, *within, 1.0])
