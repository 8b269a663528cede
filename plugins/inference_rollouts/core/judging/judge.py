"""The judge: evidence, guardrails and time -> advance | inconclusive | no data | ask | rollback.

What a caller has to do, and all of it, so that it may be killed at any time:

1.  When the step's weight is seen in force, fix a `StepContext` (it names the anchor of the time grid) and
    keep it. Take `carried` from the previous step's judgement, `Carried()` on the first step.
2.  At each tick of `counts.Grid(step.anchor, policy.interval, policy.scrape_delay)` evaluate
    `queries.queries` at the tick's time, once, and make a `Snapshot`. A query that fails makes no snapshot.
3.  `counters.Counters` makes windows of them.
4.  `assess` all windows of this step, or, for the same result at constant cost, keep the `Sums`: `begin`
    once, `absorb` each new window, `conclude` at each observation. Do so also when there is no new window:
    guardrails, missing data and deadlines need it.
5.  Stop when `judgement.verdict.final`; act; hand `judgement.carried` to the next step.

After a kill, start again at 2 from the anchor: one range query answers for all ticks that have passed. Where
they are many, some may be left out; the windows are longer then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from inference_rollouts.core.judging.counts import WindowCounts
from inference_rollouts.core.judging.evidence import log, log_sum
from inference_rollouts.core.judging.guardrails import guardrails, harms, storms
from inference_rollouts.core.judging.judgement import (
    Judgement,
    Opinion,
    Row,
    Totals,
    Verdict,
    figure,
    percent,
    worst,
)
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.policy import Guardrails, Health, Policy, StepContext
from inference_rollouts.core.judging.rows import rounded, rows_of, step_totals, window_totals
from inference_rollouts.core.judging.rules import problems
from inference_rollouts.core.judging.sums import Carried, Sums, absorb, begin, carried_of, log_evidence

__all__ = [
    "Carried", "Guardrails", "Health", "Judgement", "Policy", "Row", "StepContext", "Sums", "Totals",
    "Verdict",    "absorb", "assess", "begin", "conclude", "problems",
]  # fmt: skip

SILENCE = 60.0  # seconds without a request after which what was good may be so no more
UNEQUAL_LOAD = 1.5  # requests per pod of one arm over the other's, from which latency is not comparable


def assess(
    policy: Policy,
    metric_set: MetricSet,
    step: StepContext,
    windows: Sequence[WindowCounts],
    carried: Carried,
    health: Health,
    now: float,
) -> Judgement:
    """The judgement at `now` (Unix seconds) from all windows of this step, in order."""
    return conclude(reduce(absorb, windows, begin(policy, metric_set, step, carried)), health, now)


def conclude(sums: Sums, health: Health, now: float) -> Judgement:
    """The judgement at `now` of what the sums hold."""
    step, rules = sums.step, sums.rules
    log_e = log_evidence(sums)
    rows = rows_of(sums, log_e)
    evidence = rounded(float(log_sum(log_e + log(rules.weights))))
    opinion = worst(
        [
            *_guardrails(sums, health),
            *_alarm(sums, rows, evidence),
            *_data(sums, health, now),
            *(_inconclusive(reason) for reason in health.blockers),
            *_undecided(sums, rows, now),
            Opinion(verdict=Verdict.ADVANCE, reason=_advanced(sums, evidence)),
        ]
    )
    opinion = _no_way_back(_deadline(sums, opinion, now), health)
    canary, stable = step_totals(sums)
    recent = window_totals(rules.metric_set, sums.last) if sums.last else (None, None)
    return Judgement(
        verdict=opinion.verdict,
        reason=opinion.reason,
        blame=opinion.blame,
        step=step.index,
        weight=step.weight,
        time=now,
        progress=_progress(step, now),
        windows_end=sums.last.end if sums.last else None,
        evidence=evidence,
        alarm_at=_alarm_at(sums),
        rows=rows,
        canary=canary,
        stable=stable,
        recent_canary=recent[0],
        recent_stable=recent[1],
        warnings=tuple(_warnings(sums, canary, stable, health)),
        carried=carried_of(sums),
    )


def _alarm_at(sums: Sums) -> float:
    return float(f"{1 / sums.rules.policy.alpha:.6g}")


def _progress(step: StepContext, now: float) -> float:
    return 1.0 if now >= step.baked_at else max(0.0, (now - step.anchor) / step.bake)


def _guardrails(sums: Sums, health: Health) -> Iterator[Opinion]:
    limits = sums.rules.policy.guardrails
    yield from guardrails(limits, health)
    for name, reason in storms(limits, sums.rules.metric_set, sums.last):
        yield _rollback(reason, name)


def _rollback(reason: str, blame: str | None = None) -> Opinion:
    return Opinion(verdict=Verdict.ROLLBACK, reason=reason, blame=blame)


def _alarm(sums: Sums, rows: Sequence[Row], evidence: float) -> Iterator[Opinion]:
    if evidence < _alarm_at(sums):
        return
    row = max(rows, key=lambda row: row.evidence / row.alarm_at if row.alarm_at else 0.0)
    what = row.title if row.threshold is None else f"{row.title} over {row.threshold:g} s"
    shares = f"{percent(row.canary.share)} on the canary, {percent(row.stable.share)} on stable"
    yield _rollback(
        f"The canary is worse: {what}: {shares} in this step "
        f"(evidence {figure(evidence)}, alarm at {figure(_alarm_at(sums))}).",
        row.metric,
    )


def _data(sums: Sums, health: Health, now: float) -> Iterator[Opinion]:
    policy, metric_set = sums.rules.policy, sums.rules.metric_set
    stale = 3 * policy.interval + policy.scrape_delay
    if not health.prometheus_ok:
        yield _no_data("The metrics store does not answer.")
    if health.ready_canary is None or health.ready_stable is None:
        yield _no_data("The cluster does not answer, so nobody knows whether the pools are ready.")
    for each, last in zip(metric_set.sets, sums.counted, strict=True):
        if now > last + stale + each.delay and not each.guardrail_only:
            of = f" of {each.name}" if metric_set.beside else ""
            yield _no_data(f"No counts{of} for {now - last:.0f} s.")
        elif last > sums.step.anchor:
            yield from _missing(sums, each)


def _missing(sums: Sums, metric_set: MetricSet) -> Iterator[Opinion]:
    """What a set that was counted should have shown, and has not."""
    arms = ("canary", "stable") if sums.step.compared else ("canary",)
    for metric in metric_set.metrics:
        needed = metric.name in sums.rules.compared and not metric.optional
        for arm, pool in enumerate(arms):
            if needed and (arm, metric.name) not in sums.seen:
                yield _no_data(_unseen(metric_set, metric, pool), metric.name)


def _unseen(metric_set: MetricSet, metric: Rate | Latency, pool: str) -> str:
    if metric_set.exporters == "gateways":
        return f"No gateway exports {metric.label} of the {pool} pool."
    return f"No pod of the {pool} pool exports {metric.label}."


def _no_data(reason: str, blame: str | None = None) -> Opinion:
    return Opinion(verdict=Verdict.NO_DATA, reason=reason, blame=blame)


def _undecided(sums: Sums, rows: Sequence[Row], now: float) -> Iterator[Opinion]:
    step, policy = sums.step, sums.rules.policy
    counted = sums.last.end if sums.last else step.anchor
    covered = counted - max(each.delay for each in sums.rules.metric_set.sets if not each.guardrail_only)
    if covered < step.baked_at:
        yield _inconclusive(
            f"Baking: {max(0.0, min(now, covered) - step.anchor):.0f} s of {step.bake:.0f} s."
        )
    arms = zip(("canary", "stable")[: 1 + step.compared], step_totals(sums), sums.heard, strict=False)
    for name, arm, heard in arms:
        if arm.requests < policy.min_requests:
            count = f"{arm.requests} of {policy.min_requests} requests on the {name} pool"
            yield _inconclusive(f"Not enough traffic: {count}.")
        elif counted > heard + SILENCE:
            yield _inconclusive(f"The {name} pool has counted no request for {counted - heard:.0f} s.")
    for row in rows:
        if row.goodness is not None and row.needed is not None and row.goodness < row.needed:
            yield _inconclusive(
                f"Not yet shown to be good enough: {row.title} "
                f"(evidence {figure(row.goodness)} of {figure(row.needed)}).",
                row.metric,
            )


def _inconclusive(reason: str, blame: str | None = None) -> Opinion:
    return Opinion(verdict=Verdict.INCONCLUSIVE, reason=reason, blame=blame)


def _advanced(sums: Sums, evidence: float) -> str:
    step = sums.step
    if not step.compared:
        return "No objective is breached and no guardrail hit; at 100 % there is nothing to compare with."
    figures = f"evidence {figure(evidence)}, alarm at {figure(_alarm_at(sums))}"
    return f"No sign that the canary is worse after {step.bake:.0f} s at {step} ({figures})."


def _deadline(sums: Sums, opinion: Opinion, now: float) -> Opinion:
    """What the policy makes of an undecided opinion after the progress deadline. Missing data never pass."""
    policy = sums.rules.policy
    if opinion.verdict.final or now <= sums.step.baked_at + policy.progress_deadline:
        return opinion
    verdict = Verdict(policy.on_timeout)
    if verdict is Verdict.ADVANCE and opinion.verdict is Verdict.NO_DATA:
        verdict = Verdict.ASK
    reason = f"Undecided {policy.progress_deadline:.0f} s after the bake time: {opinion.reason}"
    return Opinion(verdict=verdict, reason=reason, blame=opinion.blame)


def _no_way_back(opinion: Opinion, health: Health) -> Opinion:
    """With stable gone and the canary serving, going back would lose all traffic: a person decides."""
    if harms(opinion, health):
        reason = f"{opinion.reason} But stable has no ready endpoints, so going back would lose all traffic."
        return Opinion(verdict=Verdict.ASK, reason=reason, blame=opinion.blame)
    return opinion


def _warnings(sums: Sums, canary: Totals, stable: Totals, health: Health) -> Iterator[str]:
    """What makes the comparison doubtful, without deciding anything."""
    yield from health.notes
    if not sums.step.compared:
        yield "At 100 % nothing is compared: only objectives and guardrails are judged."
        return
    counted = canary.requests and stable.requests and not health.shared
    if counted and health.ready_canary and health.ready_stable:
        load = (canary.requests / health.ready_canary) / (stable.requests / health.ready_stable)
        if not 1 / UNEQUAL_LOAD <= load <= UNEQUAL_LOAD:
            yield (
                f"A canary pod gets {load:.2g} times the requests of a stable pod: "
                "latency differs by load alone; match replicas to weights."
            )
    if sums.rules.policy.kappa == "estimate" and sums.seconds and not sums.dispersion.df.any():
        yield "Stable has too few pods or events to estimate overdispersion; the default kappa is used."
