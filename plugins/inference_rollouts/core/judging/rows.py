"""The figures of a judgement that people see: rows by metric, and totals by arm."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.evidence import Array
from inference_rollouts.core.judging.judgement import ArmShare, Row, Totals
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.sums import Tally, log_evidence, log_goodness, totals

Events = Mapping[str, tuple[int, tuple[int, ...]]]
"""By metric: all events, and the bad ones at each edge."""


def rounded(log_value: float) -> float:
    """exp of a log, to six digits and never infinite."""
    return float(f"{math.exp(min(log_value, 690.0)):.6g}")


def rows_of(tally: Tally) -> tuple[Row, ...]:
    """One row per metric, in the metric set's order."""
    log_e = log_evidence(tally)
    return tuple(_row(tally, metric, log_e) for metric in tally.rules.metric_set.metrics)


def _row(tally: Tally, metric: Rate | Latency, log_e: Array) -> Row:
    rules, policy = tally.rules, tally.rules.policy
    cells, tests = rules.places[metric.name], rules.tests[metric.name]
    weight = float(rules.weights[tests].sum())
    shares = rules.weights[tests] / weight if weight else np.full(len(tests), 1 / len(tests))
    loudest = cells.start + int(np.argmax(log_e[cells]))
    asked = tally.step.last_compared and policy.margin is not None and weight > 0 and _counted(tally, metric)
    return Row(
        metric=metric.name,
        title=metric.label,
        edge=metric.edges[rules.cells[loudest].place],
        canary=_share(tally, 0, loudest),
        stable=_share(tally, 1, loudest),
        evidence=rounded(float(evidence.log_sum(log_e[tests] + evidence.log(shares)))),
        threshold=float(f"{1 / (policy.alpha * weight):.6g}") if weight else None,
        goodness=rounded(log_goodness(tally, metric.name)) if asked else None,
        needed=1 / policy.beta if asked else None,
        kappa=float(f"{np.min(tally.kappa[cells]):.6g}"),
    )


def _counted(tally: Tally, metric: Rate | Latency) -> bool:
    """Whether the promotion may ask for this metric: optional ones only where they exist."""
    return not metric.optional or (0, metric.name) in tally.seen


def _share(tally: Tally, arm: int, cell: int) -> ArmShare:
    n, bad = int(tally.n[arm, cell]), int(tally.bad[arm, cell])
    return ArmShare(n=n, bad=bad, share=bad / n if n else None)


def step_totals(tally: Tally) -> tuple[Totals, Totals]:
    """Canary and stable over this step."""
    metric_set = tally.rules.metric_set
    canary, stable = (_totals(metric_set, tally.seconds, totals(tally, arm)) for arm in (0, 1))
    return canary, stable


def window_totals(metric_set: MetricSet, window: WindowCounts) -> tuple[Totals, Totals]:
    """Canary and stable over one window."""
    canary, stable = (
        {
            name: ((c.canary, c.stable)[arm].n, (c.canary, c.stable)[arm].bad)
            for name, c in window.counts.items()
        }
        for arm in (0, 1)
    )
    seconds = window.end - window.start
    return _totals(metric_set, seconds, canary), _totals(metric_set, seconds, stable)


def _totals(metric_set: MetricSet, seconds: float, events: Events) -> Totals:
    requests, failed = events.get(metric_set.errors, (0, (0,)))
    return Totals(
        requests=requests,
        rate=requests / seconds if seconds else None,
        errors=failed[0] / requests if requests else None,
        latency_p95=_quantile(metric_set, events, 0.95),
    )


def _quantile(metric_set: MetricSet, events: Events, share: float) -> float | None:
    """Interpolated between the edges, as Prometheus does; the largest edge when it lies beyond."""
    if metric_set.latency is None or metric_set.latency not in events:
        return None
    metric, (n, slower) = metric_set[metric_set.latency], events[metric_set.latency]
    assert isinstance(metric, Latency)
    low, below = 0.0, 0
    for edge, count in zip(metric.edges, slower, strict=True):
        if n and n - count >= share * n:
            return low + (edge - low) * (share * n - below) / max(n - count - below, 1)
        low, below = edge, n - count
    return low if n else None
