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
5.  Stop when `judgement.verdict.final`; act; give `carried`, of a judgement that is `handing_on`, to the next
    step.

After a kill, start again at 2 from the anchor: one range query answers for all ticks that have passed. Where
they are many, some may be left out; the windows are longer then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np

from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.judging.evidence import Array, log
from inference_rollouts.core.judging.guardrails import guardrails, harms, storms
from inference_rollouts.core.judging.judgement import (
    Judgement,
    Opinion,
    Row,
    Totals,
    Verdict,
    figure,
    percent,
    until,
    worst,
)
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.policy import Guardrails, Health, Policy, StepContext
from inference_rollouts.core.judging.rows import (
    Events,
    goodness_before,
    rounded,
    rows_of,
    share_of,
    step_totals,
    window_totals,
)
from inference_rollouts.core.judging.rules import problems
from inference_rollouts.core.judging.running import log_total
from inference_rollouts.core.judging.sums import (
    Evidence,
    Sums,
    absorb,
    absorb_all,
    begin,
    carried_of,
    evidence_of,
    evidence_of_all,
    objectives_broken,
    totals,
)
from inference_rollouts.core.judging.window_counts import WindowCounts

__all__ = [
    "Carried", "Evidence", "Guardrails", "Health", "Judgement", "Policy", "Row", "StepContext", "Sums",
    "Totals", "Verdict", "absorb", "absorb_all", "assess", "begin", "conclude", "evidence_of_all",
    "handing_on", "problems",
]  # fmt: skip

SILENCE = 60.0  # seconds without a request after which what was good may be so no more
LEAST = 1e-300  # evidence of which there is a logarithm
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
    sums = reduce(absorb, windows, begin(policy, metric_set, step, carried))
    return handing_on(conclude(sums, health, now), sums, health)


def conclude(sums: Sums, health: Health, now: float, found: Evidence | None = None) -> Judgement:
    """The judgement at `now` (Unix seconds) of what the sums hold; `found` is their evidence, where it is
    known already."""
    if health.bake_skipped:
        sums = replace(sums, step=sums.step.model_copy(update={"bake": 0.0}))
    step, rules = sums.step, sums.rules
    found = found or evidence_of(sums)
    rows = rows_of(sums, found)
    evidence = rounded(float(log_total(found.log_e, rules)))
    opinions = [
        *_guardrails(sums, health),
        *_alarm(sums, found.log_e, evidence),
        *_both_fail(sums),
        *_data(sums, health, now),
        *(_inconclusive(reason) for reason in health.blockers),
        *_undecided(sums, rows, evidence, now),
        Opinion(verdict=Verdict.ADVANCE, reason=_advanced(sums, evidence)),
    ]
    opinion = _no_way_back(_deadline(sums, health, opinions, now), health)
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
    )


def handing_on(judgement: Judgement, sums: Sums, health: Health) -> Judgement:
    """The judgement that ends a step, with what the next step's judge gets."""
    return judgement.model_copy(update={"carried": carried_of(sums, health.restarts)})


def _alarm_at(sums: Sums) -> float:
    return float(f"{1 / sums.rules.policy.alpha:.6g}")


def _progress(step: StepContext, now: float) -> float:
    if now < step.anchor:  # which a step that need not bake has ahead of it as well
        return 0.0
    return 1.0 if now >= step.baked_at else (now - step.anchor) / step.bake


def _guardrails(sums: Sums, health: Health) -> Iterator[Opinion]:
    limits = sums.rules.policy.guardrails
    yield from guardrails(limits, health, sums.crashes)
    for name, reason in storms(limits, sums.rules.metric_set, sums.errors):
        yield _rollback(reason, name)


def _rollback(reason: str, blame: str | None = None) -> Opinion:
    return Opinion(verdict=Verdict.ROLLBACK, reason=reason, blame=blame)


def _alarm(sums: Sums, log_e: Array, evidence: float) -> Iterator[Opinion]:
    """The evidence is enough: of a comparison, or of an objective that stable does not break."""
    if evidence < _alarm_at(sums):
        return
    rules = sums.rules
    loudest = int(np.argmax(log_e + log(rules.weights)))
    objective = loudest >= len(rules.cells)
    cell = int(rules.objectives[loudest - len(rules.cells)]) if objective else loudest
    metric, figures = rules.cells[cell].metric, _shares(sums, cell)
    if objective:
        assert metric.objective is not None
        what = (
            f"breaks its objective, and stable does not: {figures}, {percent(metric.objective.share)} allowed"
        )
    else:
        what = f"is worse than stable{'' if sums.step.compared else ' was'}: {figures}"
    alarm = f"evidence {figure(evidence)}, alarm at {figure(_alarm_at(sums))}"
    yield _rollback(f"The canary {what} ({alarm}).", metric.name)


def _shares(sums: Sums, cell: int) -> str:
    """What both arms show at one cell, in words."""
    each = sums.rules.cells[cell]
    threshold = each.metric.thresholds[each.place]
    title = each.metric.label if threshold is None else f"{each.metric.label} over {threshold:g} s"
    canary, stable = (share_of(sums, arm, cell).share for arm in (0, 1))
    if sums.step.compared:
        return f"{title}: {percent(canary)} on the canary, {percent(stable)} on stable in this step"
    if not sums.stable:
        return f"{title}: {percent(canary)} on the canary in this step"
    n, bad = sums.stable[0][cell], sums.stable[1][cell]
    usual = percent(bad / n if n else None)
    return f"{title}: {percent(canary)} on the canary in this step, {usual} on stable before"


def _both_fail(sums: Sums) -> Iterator[Opinion]:
    """An objective that stable breaks as well is no fault of the canary."""
    rules, cells = sums.rules, len(sums.rules.cells)
    broken = objectives_broken(sums) + log(rules.weights[cells:])
    for place in np.flatnonzero(broken >= np.log(_alarm_at(sums))).tolist():
        cell = int(rules.objectives[place])
        metric = rules.cells[cell].metric
        assert metric.objective is not None
        if min(share_of(sums, arm, cell).share or 0.0 for arm in (0, 1)) > metric.objective.share:
            allowed = percent(metric.objective.share)
            reason = (
                f"Both arms break an objective: {_shares(sums, cell)}, {allowed} allowed. "
                "The canary is not to blame, and going back would heal nothing."
            )
            yield Opinion(verdict=Verdict.INCONCLUSIVE, reason=reason, blame=metric.name, on_timeout="ask")


def _data(sums: Sums, health: Health, now: float) -> Iterator[Opinion]:
    policy, metric_set = sums.rules.policy, sums.rules.metric_set
    stale = 3 * policy.interval + policy.scrape_delay
    if not health.prometheus_ok:
        yield _no_data("The metrics store does not answer.")
    latest = max(sums.step.started_at, sums.last.end if sums.last else 0.0)
    if (ahead := latest - now) > stale:
        yield _no_data(f"What was counted is {ahead:.0f} s ahead of the clock: it was set, or two differ.")
    if health.ready_canary is None or health.ready_stable is None:
        yield _no_data("The cluster does not answer, so nobody knows whether the pools are ready.")
    for each, last in zip(metric_set.sets, sums.counted, strict=True):
        if now > last + stale + each.delay and not each.guardrail_only:
            of = f" of {each.name}" if metric_set.beside else ""
            yield _no_data(f"No counts{of} for {now - last:.0f} s.")
        elif last > sums.step.anchor:
            yield from _missing(sums, each, last - stale, now)


def _missing(sums: Sums, metric_set: MetricSet, fresh: float, now: float) -> Iterator[Opinion]:
    """What a set that was counted should have shown since `fresh`, and has not, or next to nothing of it."""
    arms = ("canary", "stable") if sums.step.compared else ("canary",)
    counted = [totals(sums, arm) for arm in range(len(arms))]
    for metric in metric_set.metrics:
        needed = metric.name in sums.rules.compared and not metric.optional
        for arm, pool in enumerate(arms if needed else ()):
            seen = sums.seen.get((arm, metric.name))
            if seen is None:
                yield _no_data(
                    f"{_nobody(metric_set, pool)} exports {_of(metric_set, metric, pool)}.", metric.name
                )
            elif seen < fresh:
                what = f"{_of(metric_set, metric, pool)} for {now - seen:.0f} s"
                yield _no_data(f"{_nobody(metric_set, pool)} has exported {what}.", metric.name)
            elif sums.last is not None and sums.last.end >= sums.step.baked_at:
                yield from _too_few(sums, metric_set, metric, pool, counted[arm])


def _too_few(
    sums: Sums, metric_set: MetricSet, metric: Rate | Latency, pool: str, counts: Events
) -> Iterator[Opinion]:
    """A metric that has too few events for the requests that there were; those that fail may have none."""
    least, events = sums.rules.policy.min_requests, counts[metric.name][0]
    requests, (failed, *_) = counts[metric_set.errors]
    few = f"{events} of {least} events of {metric.label}"
    if events < least <= requests - failed:
        yield _no_data(f"Too little is counted: {few} on the {pool} pool.", metric.name)
    elif events < least <= requests:
        what = f"{failed} of {requests} requests on the {pool} pool fail"
        yield _inconclusive(f"{what}, which leaves too little to judge: {few}.", metric.name)


def _nobody(metric_set: MetricSet, pool: str) -> str:
    return "No gateway" if metric_set.exporters == "gateways" else f"No pod of the {pool} pool"


def _of(metric_set: MetricSet, metric: Rate | Latency, pool: str) -> str:
    return f"{metric.label} of the {pool} pool" if metric_set.exporters == "gateways" else metric.label


def _no_data(reason: str, blame: str | None = None) -> Opinion:
    return Opinion(verdict=Verdict.NO_DATA, reason=reason, blame=blame)


def _undecided(sums: Sums, rows: Sequence[Row], evidence: float, now: float) -> Iterator[Opinion]:
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
            when = until(arm.requests, policy.min_requests, sums.seconds)
            yield _inconclusive(f"Not enough traffic: {count}, {when}.")
        elif counted > heard + SILENCE:
            yield _inconclusive(f"The {name} pool has counted no request for {counted - heard:.0f} s.")
    if evidence >= (doubt := np.sqrt(_alarm_at(sums))):
        yield _inconclusive(
            f"Some evidence against the canary: {figure(evidence)}. The alarm is at "
            f"{figure(_alarm_at(sums))}, and it goes on below {figure(doubt)}."
        )
    yield from _unproven(sums, rows)


def _unproven(sums: Sums, rows: Sequence[Row]) -> Iterator[Opinion]:
    """What is not shown to be good enough, and how long that takes at the pace of this step alone."""
    before: Mapping[str, float] = {}
    for row in rows:
        if row.goodness is not None and row.needed is not None and row.goodness < row.needed:
            before = before or goodness_before(sums)
            gained, lacking = np.log((max(row.goodness, LEAST), row.needed)) - before[row.metric]
            when = until(round(gained, 4), lacking, sums.seconds)
            reason = f"{row.title} (evidence {figure(row.goodness)} of {figure(row.needed)}, {when})"
            reason = f"Not yet shown to be good enough: {reason}."
            yield Opinion(verdict=Verdict.INCONCLUSIVE, reason=reason, blame=row.metric, on_timeout="advance")


def _inconclusive(reason: str, blame: str | None = None) -> Opinion:
    return Opinion(verdict=Verdict.INCONCLUSIVE, reason=reason, blame=blame)


def _advanced(sums: Sums, evidence: float) -> str:
    """Times are those that were counted, however long the step was meant to bake."""
    step, figures = sums.step, f"evidence {figure(evidence)}, alarm at {figure(_alarm_at(sums))}"
    after = f"after {sums.seconds:.0f} s at {step} ({figures})"
    if step.compared:
        return f"No sign that the canary is worse {after}."
    if sums.reference:
        return f"No sign that the canary is worse than stable was {after}."
    return f"No objective is broken {after}; nothing was there to compare with."


def _deadline(sums: Sums, health: Health, opinions: list[Opinion], now: float) -> Opinion:
    """What the policy makes of an undecided opinion after the progress deadline.

    `advance` waives proof, and nothing else: no minimum of events, no weight in force, no missing data.
    """
    opinion, policy = worst(opinions), sums.rules.policy
    since = max(sums.step.baked_at, health.resumed)
    if opinion.verdict.final or health.held or now <= since + policy.progress_deadline:
        return opinion
    verdict = Verdict(policy.on_timeout)
    open_ones = [each for each in opinions if not each.verdict.final]
    asking = next((each for each in open_ones if each.on_timeout == "ask"), None)
    opinion = asking or opinion
    if asking or (verdict is Verdict.ADVANCE and any(each.on_timeout != "advance" for each in open_ones)):
        verdict = Verdict.ASK
    begun = "after the bake time" if since == sums.step.baked_at else "after a person let it go on"
    reason = f"Undecided {now - since:.0f} s {begun}, with no alarm: {opinion.reason}"
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
        if sums.reference:
            yield "At 100 % the canary is compared with what stable counted before, which may have changed."
        else:
            yield "Nothing is there to compare with: only objectives and guardrails are judged."
        return
    counted = canary.requests and stable.requests and not health.shared
    if counted and health.ready_canary and health.ready_stable:
        load = (canary.requests / health.ready_canary) / (stable.requests / health.ready_stable)
        if not 1 / UNEQUAL_LOAD <= load <= UNEQUAL_LOAD:
            yield (
                f"A canary pod gets {load:.2g} times the requests of a stable pod: "
                "latency differs by load alone; match replicas to weights."
            )
    if sums.rules.policy.kappa == "estimate" and sums.seconds and not sums.running.dispersion.df.any():
        yield "Stable has too few pods or events to tell how they scatter; only minutes do."
