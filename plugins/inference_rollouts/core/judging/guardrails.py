"""Guardrails: limits that act at once, whatever the statistics say, and whoever looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from inference_rollouts.core.judging.judgement import Opinion, Verdict, percent
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.policy import STORM_WINDOWS, Guardrails, Health
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts


def guardrails(limits: Guardrails, health: Health, crashes: int = 0) -> Iterator[Opinion]:
    """A rollback for each limit that the cluster's health breaks; `crashes` were in the steps before."""
    if health.ready_canary == 0:
        yield _rollback("The canary has no ready endpoints.")
    if health.canary_outage:
        yield _rollback(health.canary_outage)
    if health.restarts and health.restarts + crashes >= limits.restarts:
        yield _rollback(f"The canary's pods crash: {health.restarts + crashes} times, the last in this step.")
    if not health.route_ok:
        yield _rollback("The route no longer resolves both pools.")
    if health.storm:
        yield _rollback(health.storm)


def storms(
    limits: Guardrails, metric_set: MetricSet, latest: Mapping[str, Sequence[Counts]]
) -> Iterator[tuple[str, str]]:
    """The error metrics, of all sets that judge, that show a storm in their latest windows, each with its
    sentence."""
    for each in metric_set.sets:
        errors = each[each.errors]
        if reason := storm(limits, errors.label, latest.get(errors.name, ())):
            yield errors.name, reason


def storm(limits: Guardrails, label: str, latest: Sequence[Counts]) -> str:
    """The sentence of a storm of the error metric called `label` in its latest windows, or an empty one."""
    if len(latest) < STORM_WINDOWS or not all(_bad(limits, counts.canary) for counts in latest):
        return ""
    canary, stable = (_share(arms) for arms in zip(*((c.canary, c.stable) for c in latest), strict=True))
    if stable >= canary / 2:
        return ""
    shares = (
        f"{percent(canary)} on the canary in the last {STORM_WINDOWS} intervals, {percent(stable)} on stable"
    )
    return f"A storm of {label}: {shares}."


def _bad(limits: Guardrails, canary: ArmCounts) -> bool:
    return canary.bad[0] >= limits.storm_requests and canary.bad[0] >= limits.storm_share * canary.n


def _share(arms: Sequence[ArmCounts]) -> float:
    return sum(arm.bad[0] for arm in arms) / max(sum(arm.n for arm in arms), 1)


def harms(opinion: Opinion, health: Health) -> bool:
    """Whether following a rollback would lose all traffic: stable is gone, and the canary serves."""
    gone = health.ready_stable == 0 and bool(health.ready_canary)
    return opinion.verdict is Verdict.ROLLBACK and gone


def _rollback(reason: str) -> Opinion:
    return Opinion(verdict=Verdict.ROLLBACK, reason=reason)
