"""What one observation costs, from the metrics store's answer to the verdict: `python -m bench.cost`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from inference_rollouts.clients.vectors import VectorReader
from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counters import Counters
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.metrics import MetricSet, parse_metric_set

OBSERVATIONS = 30
INTERVAL = 5.0  # seconds
THRESHOLDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CANARY, STABLE = Arm("inference_pool", "new"), Arm("inference_pool", "old")


def ten_metrics() -> MetricSet:
    """Four rates with objectives and six latencies with six thresholds each."""
    rate: dict[str, Any] = {"kind": "rate", "total": "a", "bad": "b", "objective": {"share": 0.05}}
    latency: dict[str, Any] = {"kind": "latency", "histogram": "h", "thresholds": THRESHOLDS}
    metrics = [{"name": f"rate{i}", **rate} for i in range(4)]
    metrics += [{"name": f"latency{i}", **latency} for i in range(6)]
    return parse_metric_set({"name": "ten", "errors": "rate0", "latency": "latency0", "metrics": metrics})


def answers(pods: int, rate: float) -> list[bytes]:
    """Prometheus' answers at one observation after the other: `pods`, half of them each arm's, that share
    `rate` requests/s; 2 % fail.
    """
    rng = np.random.default_rng(0)
    totals = np.cumsum(rng.poisson(rate * INTERVAL / pods, (OBSERVATIONS, pods)), axis=0)
    return [_answer(row.tolist()) for row in totals]


def _answer(totals: list[int]) -> bytes:
    half = len(totals) // 2
    samples: list[dict[str, Any]] = [
        {"metric": {**labels, "pod": f"pod-{pod}", "namespace": "default"}, "value": [1.0, str(value)]}
        for pod, total in enumerate(totals)
        for labels, value in samples_of((CANARY, STABLE)[pod // half], total)
    ]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": samples}}).encode()


def samples_of(arm: Arm, total: int) -> Iterator[tuple[dict[str, str], int]]:
    own = {arm.label: arm.value}
    yield {**own, "series": "started"}, 1
    for rate in range(4):
        yield {**own, "series": f"rate{rate}/total/0"}, total
        yield {**own, "series": f"rate{rate}/bad/0"}, total // 50
    for latency in range(6):
        bounds = [*map(str, THRESHOLDS), "+Inf"]
        for place, bound in enumerate(bounds, start=1):
            series = {**own, "series": f"latency{latency}/le/0", "le": bound}
            yield series, total * place // len(bounds)


def milliseconds(pods: int, rate: float) -> tuple[float, float]:
    """CPU time of one observation: to read and count an answer; for evidence, both ways, and a verdict."""
    metric_set, policy, half = ten_metrics(), judge.Policy(interval=INTERVAL), pods // 2
    step = judge.StepContext(
        index=1, steps=4, whole=4e4, weight=50, started_at=1000, bake=1e4, last_compared=True
    )
    health = judge.Health(ready_canary=half, ready_stable=half)
    sums, counters = (
        judge.begin(policy, metric_set, step, judge.Carried()),
        Counters(metric_set, CANARY, STABLE),
    )
    reader, own = VectorReader(), frozenset(("servers", f"pod-{pod}") for pod in range(pods))
    counting = judging = 0.0
    for place, body in enumerate(answers(pods, rate)):
        now, began = 1000 + place * INTERVAL, time.process_time()
        window = counters.observe(Snapshot.of_vectors(now, {"counts": reader.vector(body)[0]}), own)
        counted = time.process_time()
        if window:
            sums = judge.absorb(sums, window)
            judge.conclude(sums, health, now)
        counting, judging = counting + counted - began, judging + time.process_time() - counted
    return 1000 * counting / OBSERVATIONS, 1000 * judging / OBSERVATIONS


def cost_of_an_observation() -> str:
    """One sentence with the figures."""
    figures = []
    for pods, rate in ((20, 20), (20, 1000), (100, 100), (100, 1000)):
        counting, judging = milliseconds(pods, rate)
        figures.append(f"{counting:.0f} + {judging:.0f} ms with {pods} pods and {rate} requests/s")
    return (
        "One observation of ten metrics (40 tests) costs, in CPU time to count an answer, and to judge: "
        f"{', '.join(figures)}."
    )


if __name__ == "__main__":
    print(cost_of_an_observation())
