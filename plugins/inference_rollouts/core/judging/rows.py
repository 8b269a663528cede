"""The figures of a judgement that people see: rows by metric, and totals by arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.judgement import ArmShare, Row, Totals
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.running import log_goodness
from inference_rollouts.core.judging.sums import Evidence, Sums, evidence_of, totals
from inference_rollouts.core.judging.window_counts import WindowCounts

Events = Mapping[str, tuple[int, tuple[int, ...]]]
"""By metric: all events, and the bad ones at each threshold."""


def rounded(log_value: float) -> float:
    """exp of a log, to six digits and never infinite."""
    return float(f"{math.exp(min(log_value, 690.0)):.6g}")


def rows_of(sums: Sums, found: Evidence) -> tuple[Row, ...]:
    """One row per metric, in the metric set's order."""
    log_e, good = found.log_e, found.log_good
    rows: dict[str, Row] = {}
    for each in sums.rules.alike:
        loudest = each.cells[np.arange(len(each.names)), np.argmax(log_e[each.cells], axis=1)].tolist()
        log_es = evidence.log_sum(log_e[each.tests] + each.log_shares).tolist()
        kappas = sums.running.kappa[each.cells].min(axis=1).tolist()
        figures = zip(each.names, loudest, log_es, each.alarm_at, kappas, strict=True)
        for name, cell, log_evidence, alarm_at, kappa in figures:
            rows[name] = _row(sums, cell, rounded(log_evidence), alarm_at, good.get(name), kappa)
    return tuple(rows[name] for name in sums.rules.places)


def least_goodness(sums: Sums) -> float | None:
    """The least evidence that the canary is good enough, of the metrics that promotion asks for.

    None where it asks for none, as before the last step that is compared.
    """
    good = evidence_of(sums).log_good
    asked = [good[m.name] for m in sums.rules.metric_set.judged if m.name in good and _needed(sums, m)]
    return rounded(min(asked)) if asked else None


def goodness_before(sums: Sums) -> dict[str, float]:
    """ln E that each metric is good enough, as it was when the step began."""
    then = replace(sums.running, good=sums.running.earlier)
    return {name: float(value) for name, value in log_goodness(then, sums.rules).items()}


def _row(
    sums: Sums,
    loudest: int,
    evidence: float,
    alarm_at: float | None,
    goodness: float | None,
    kappa: float,
) -> Row:
    metric, place = sums.rules.cells[loudest].metric, sums.rules.cells[loudest].place
    asked = goodness is not None and _needed(sums, metric)
    return Row(
        metric=metric.name,
        title=metric.label,
        threshold=metric.thresholds[place],
        canary=share_of(sums, 0, loudest),
        stable=share_of(sums, 1, loudest),
        evidence=evidence,
        alarm_at=alarm_at,
        goodness=rounded(goodness) if goodness is not None and asked else None,
        needed=1 / sums.rules.policy.beta if asked else None,
        kappa=float(f"{kappa:.6g}"),
    )


def _needed(sums: Sums, metric: Rate | Latency) -> bool:
    """Whether the promotion may ask for this metric: optional ones only where they exist."""
    return metric.name in sums.rules.compared and (not metric.optional or (0, metric.name) in sums.seen)


def share_of(sums: Sums, arm: int, cell: int) -> ArmShare:
    """Bad events of one arm (0 canary, 1 stable) at one cell, in this step."""
    n, bad = int(sums.n[arm, cell]), int(sums.bad[arm, cell])
    return ArmShare(n=n, bad=bad, share=bad / n if n else None)


def step_totals(sums: Sums) -> tuple[Totals, Totals]:
    """Canary and stable over this step."""
    metric_set = sums.rules.metric_set
    canary, stable = (_totals(metric_set, sums.seconds, totals(sums, arm)) for arm in (0, 1))
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
    if metric_set.latency is None or metric_set.latency not in events:
        return None
    metric = metric_set[metric_set.latency]
    assert isinstance(metric, Latency)
    return quantile(metric.thresholds, *events[metric_set.latency], share)


def quantile(thresholds: Sequence[float], n: int, slower: Sequence[int], share: float) -> float | None:
    """The time (s) within which this share of `n` events was over; `slower` were above each threshold.

    Interpolated between the thresholds, as Prometheus does; the largest threshold when it lies beyond. None
    without events.
    """
    low, below = 0.0, 0
    for threshold, count in zip(thresholds, slower, strict=True):
        if n and n - count >= share * n:
            return low + (threshold - low) * (share * n - below) / max(n - count - below, 1)
        low, below = threshold, n - count
    return low if n else None
