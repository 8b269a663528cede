"""One line a rollout: what a list shows of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.ladder import Rung, ladder
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.reporting.standing import Standing, standing_of
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.core.values import Value

_ORDER = {standing: place for place, standing in enumerate(Standing)}


class Line(Value):
    """A rollout. `percent` is the canary's share, `shares` are the plan's, `since` and the like Unix seconds.

    `words` say how it is: the newest headline, or how it ended and why.
    """

    dag: str
    run: str
    plan: str
    stable: str
    canary: str
    standing: Standing
    wants_a_person: bool
    percent: int
    mirror: int
    step: int
    steps: int
    shares: tuple[int, ...]
    words: str
    verdict: str
    watcher: str
    since: float | None
    began: float | None
    ended: float | None
    ends_about: float | None
    by: str


def line(run: SeenRun, plan: Plan | None, status: Status | None, watched: bool | None, now: float) -> Line:
    """A run's line; `plan` as preflight froze it, None before that; `watched` None: nobody knows."""
    standing = standing_of(run, status, watched=watched)
    rungs = ladder(plan, run, status) if plan else []
    progress = status.progress if status else None
    return Line(
        dag=run.dag,
        run=run.run,
        plan=plan.name if plan else run.dag.removeprefix("rollout_"),
        stable=plan.stable if plan else "",
        canary=plan.canary if plan else "",
        standing=standing,
        wants_a_person=standing.wants_a_person,
        percent=_percent(standing, status),
        mirror=status.mirror if status and not run.is_over else 0,
        step=status.step if status else 0,
        steps=len(rungs),
        shares=tuple(rung.weight for rung in rungs),
        words=_words(run, status),
        verdict=progress.verdict if progress and not run.is_over else "",
        watcher=status.watcher if status and not run.is_over else "",
        since=status.since or None if status else None,
        began=run.began,
        ended=run.ended,
        ends_about=_end(plan, run, status, rungs, now),
        by=run.by,
    )


def in_order(lines: Iterable[Line]) -> list[Line]:
    """Those that want a person first, then by what they do, the latest first."""
    return sorted(lines, key=lambda each: (_ORDER[each.standing], -(each.began or 0.0)))


def _percent(standing: Standing, status: Status | None) -> int:
    if standing is Standing.PROMOTED:
        return 100
    return status.percent if status and standing.value not in _AT_ZERO else 0


_AT_ZERO = {Standing.ROLLED_BACK.value, Standing.UNCONFIRMED.value, Standing.NOT_STARTED.value}


def _words(run: SeenRun, status: Status | None) -> str:
    if run.is_over:
        summary: Any = run.left("report", "reason") or run.left("preflight", "summary") or ""
        return str(summary)
    if run.question:
        return run.question.subject
    return status.headline if status else "getting ready: preflight"


def _end(
    plan: Plan | None, run: SeenRun, status: Status | None, rungs: list[Rung], now: float
) -> float | None:
    """About when it ends, if every step passes at its first chance; None where that is not to be said."""
    if plan is None or run.is_over or status is None or run.question:
        return None
    if status.phase is not Phase.PROGRESSING:
        return None
    done = status.step
    current = status.since + plan.initial_delay + plan.all_steps[done - 1].bake if done else now
    later = [rung for rung in rungs if rung.step > done]
    whole = sum(plan.initial_delay + rung.bake for rung in later)
    return max(now, current) + whole
