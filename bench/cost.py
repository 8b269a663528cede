"""What one observation costs: counting, evidence and verdict over ten metrics and twenty pods."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.counters import Counters
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.metrics import MetricSet, parse_metric_set

OBSERVATIONS = 30
PODS = 10  # of each arm
THRESHOLDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CANARY, STABLE = Arm("inference_pool", "new"), Arm("inference_pool", "old")


def ten_metrics() -> MetricSet:
    """Four rates with objectives and six latencies with six thresholds each."""
    rate: dict[str, Any] = {"kind": "rate", "total": "a", "bad": "b", "objective": {"share": 0.05}}
    latency: dict[str, Any] = {"kind": "latency", "histogram": "h", "thresholds": THRESHOLDS}
    metrics = [{"name": f"rate{i}", **rate} for i in range(4)]
    metrics += [{"name": f"latency{i}", **latency} for i in range(6)]
    return parse_metric_set({"name": "ten", "errors": "rate0", "latency": "latency0", "metrics": metrics})


def snapshots(rate: float, interval: float) -> list[Snapshot]:
    """Observations of twenty pods that share `rate` requests/s; 2 % fail."""
    rng = np.random.default_rng(0)
    totals = np.cumsum(rng.poisson(rate * interval / (2 * PODS), (OBSERVATIONS + 1, 2 * PODS)), axis=0)
    return [Snapshot(1000.0 + interval * i, {"counts": _samples(row)}) for i, row in enumerate(totals)]


def _samples(totals: Any) -> list[tuple[dict[str, str], float]]:
    samples = []
    for i, total in enumerate(totals.tolist()):
        labels = {"inference_pool": (CANARY, STABLE)[i // PODS].value, "pod": f"pod-{i}"}
        samples.append(({**labels, "series": "started"}, 1.0))
        for j in range(4):
            samples.append(({**labels, "series": f"rate{j}/total/0"}, float(total)))
            samples.append(({**labels, "series": f"rate{j}/bad/0"}, float(total // 50)))
        for j in range(6):
            series = {**labels, "series": f"latency{j}/le/0"}
            samples += [
                ({**series, "le": str(e)}, float(int(total * (k + 1) / 7))) for k, e in enumerate(THRESHOLDS)
            ]
            samples.append(({**series, "le": "+Inf"}, float(total)))
    return samples


def milliseconds(rate: float, interval: float) -> float:
    """CPU time of one observation, overdispersion estimated and the evidence for promotion computed."""
    metric_set, policy = ten_metrics(), judge.Policy(kappa="estimate", interval=interval)
    step = judge.StepContext(index=1, steps=4, weight=50, started_at=1000, bake=1e4, last_compared=True)
    health = judge.Health(ready_canary=PODS, ready_stable=PODS)
    seen, sums = snapshots(rate, interval), judge.begin(policy, metric_set, step, judge.Carried())
    start = time.process_time()
    counter = Counters(metric_set, CANARY, STABLE)
    for after in seen:
        if window := counter.observe(after):
            sums = judge.absorb(sums, window)
            judge.conclude(sums, health, after.time)
    return 1000 * (time.process_time() - start) / OBSERVATIONS


def cost_of_an_observation() -> str:
    """One sentence with the figures."""
    cases = ((20, 1), (20, 15), (20, 60), (100, 5), (1000, 5), (1000, 60))
    figures = ", ".join(
        f"{milliseconds(rate, interval):.0f} ms at {rate} requests/s every {interval} s"
        for rate, interval in cases
    )
    return f"One observation of ten metrics (40 tests) and twenty pods costs, in CPU time: {figures}."
