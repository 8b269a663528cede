"""Guardrails: limits that act at once, whatever the statistics say, and whoever looks."""

from __future__ import annotations

from collections.abc import Iterator

from inference_rollouts.core.judging.counts import Counts, WindowCounts
from inference_rollouts.core.judging.judgement import Opinion, Verdict, percent
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.policy import Guardrails, Health


def guardrails(limits: Guardrails, health: Health) -> Iterator[Opinion]:
    """A rollback for each limit that the cluster's health breaks."""
    if health.ready_canary == 0:
        yield _rollback("The canary has no ready endpoints.")
    if health.canary_outage:
        yield _rollback(health.canary_outage)
    if health.crash_loop or health.restarts >= limits.restarts:
        yield _rollback(f"The canary's containers crash: {health.restarts} restarts, the last in this step.")
    if not health.route_ok:
        yield _rollback("The route no longer resolves both pools.")
    if health.storm:
        yield _rollback(health.storm)


def storms(
    limits: Guardrails, metric_set: MetricSet, window: WindowCounts | None
) -> Iterator[tuple[str, str]]:
    """The error metrics, of all sets that judge, that show a storm in a window, each with its sentence."""
    for each in metric_set.sets:
        errors = each[each.errors]
        counts = window.counts.get(errors.name) if window else None
        if reason := storm(limits, errors.label, counts):
            yield errors.name, reason


def storm(limits: Guardrails, label: str, counts: Counts | None) -> str:
    """The sentence of a storm in one window of the error metric called `label`; empty if there is none."""
    if counts is None:
        return ""
    canary, stable = counts.canary, counts.stable
    share = canary.bad[0] / canary.n if canary.n else 0.0
    usual = stable.bad[0] / stable.n if stable.n else 0.0
    if canary.bad[0] < limits.storm_requests or share < limits.storm_share or usual >= share / 2:
        return ""
    shares = f"{percent(share)} on the canary in the last interval, {percent(usual)} on stable"
    return f"A storm of {label}: {shares}."


def harms(opinion: Opinion, health: Health) -> bool:
    """Whether following a rollback would lose all traffic: stable is gone, and the canary serves."""
    gone = health.ready_stable == 0 and bool(health.ready_canary)
    return opinion.verdict is Verdict.ROLLBACK and gone


def _rollback(reason: str) -> Opinion:
    return Opinion(verdict=Verdict.ROLLBACK, reason=reason)
