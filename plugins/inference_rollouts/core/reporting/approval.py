"""What a person is asked about a step, what becomes of the answer, and how the step is watched meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.judging.judgement import Judgement, Row, Totals, Verdict, figure, percent
from inference_rollouts.core.judging.policy import StepContext
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.text import inert
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.routing.control import aborted, hurried
from inference_rollouts.core.run.frozen import Frozen

GO_ON, ROLL_BACK = "Go on", "Roll back"


@dataclass(frozen=True, slots=True)
class Question:
    """What a person sees: a headline, markdown, and the option that silence stands for."""

    subject: str
    body: str
    default: str


def question(plan: Plan, judgement: Judgement, asked: float | None = None) -> Question | None:
    """The question that a step's judgement raises, `asked` then (Unix seconds; None: as it was judged).

    None when nobody needs to be asked.
    """
    following = plan.all_steps[judgement.step].weight if judgement.step < len(plan.all_steps) else None
    if judgement.verdict is Verdict.ADVANCE:
        if following is None or not plan.approvals.due(judgement.weight, following):
            return None
        why, silence = "The plan wants a person's approval before this weight.", plan.approvals.on_timeout
    elif judgement.verdict is Verdict.ASK:
        why, silence = "The judge cannot decide this alone.", "rollback"
    else:
        return None
    default = GO_ON if silence == "advance" else ROLL_BACK
    forward = f"raise it from {judgement.weight} % to {following} %" if following else "promote it"
    subject = f"{plan.canary}: {forward}, or go back to {plan.stable}?"
    until = (judgement.time if asked is None else asked) + plan.approvals.timeout
    return Question(subject, "\n".join(_body(plan, judgement, why, forward, default, until)), default)


def answered(plan: Plan, judgement: Judgement, answer: Mapping[str, Any]) -> Judgement:
    """The judgement after an answer: the person's, or that of their silence."""
    person = (answer.get("responded_by_user") or {}).get("name")
    waited = format_duration(plan.approvals.timeout)
    who = f"{person} chose" if person else f"Nobody answered in {waited}, which means"
    go_on = list(answer["chosen_options"]) == [GO_ON]
    reason = f'{who} "{GO_ON if go_on else ROLL_BACK}". The judge had concluded: {judgement.reason}'
    verdict = Verdict.ADVANCE if go_on else Verdict.ROLLBACK
    return judgement.model_copy(update={"verdict": verdict, "reason": reason})


def as_commanded(judgement: Judgement, claims: Sequence[Claim]) -> Judgement:
    """The judgement after what people commanded: an abort ends the step, and so does a raise, but no alarm.

    An alarm that cannot go back, as stable is gone, asks a person all the same.
    """
    had = f"The judge had concluded: {judgement.reason}"
    if command := aborted(claims):
        reason = f"Aborted by {command}. {had}"
        return judgement.model_copy(update={"verdict": Verdict.ROLLBACK, "reason": reason, "blame": None})
    command = hurried(claims)
    if command is None or judgement.verdict in (Verdict.ASK, Verdict.ROLLBACK):
        return judgement
    reason = f"{command.what.value} by {command}. {had}"
    return judgement.model_copy(update={"verdict": Verdict.ADVANCE, "reason": reason})


def watched(frozen: Frozen, step: int, since: float) -> tuple[Frozen, StepContext]:
    """How a step is judged while a person thinks: it goes on from `since`, and no deadline rolls it back."""
    analysis = frozen.plan.analysis.model_copy(update={"on_timeout": "ask"})
    plan = frozen.plan.model_copy(update={"analysis": analysis})
    context = plan.step_context(step, since).model_copy(update={"initial_delay": 0.0, "resumed": True})
    return replace(frozen, plan=plan), context


def _body(
    plan: Plan, judgement: Judgement, why: str, forward: str, default: str, until: float
) -> Iterator[str]:
    yield f"**{inert(judgement.reason)}** {why}"
    yield ""
    yield f"Figures as of {_utc(judgement.time)}:"
    yield from _table(
        ("this step", "requests", "requests/s", "errors", "p95"),
        [_totals(plan.canary, judgement.canary), _totals(plan.stable, judgement.stable)],
    )
    yield from _table(
        ("metric", "bad on the canary", "on stable", "evidence", "alarm at"),
        [_row(row) for row in judgement.rows],
    )
    yield ""
    yield f"All evidence together: {figure(judgement.evidence)}, alarm at {figure(judgement.alarm_at)}."
    yield from (f"Warning: {inert(warning)}" for warning in judgement.warnings)
    yield ""
    yield f"- **{GO_ON}**: {forward}."
    yield f"- **{ROLL_BACK}**: all traffic goes back to `{plan.stable}`, exactly as it was found."
    yield ""
    yield (
        f"Until then `{plan.canary}` keeps {judgement.weight} % and is watched: an alarm takes it back at "
        f'once. No answer until {_utc(until)} means "{default}".'
    )


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield ""
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cells)} |"


def _totals(name: str, arm: Totals) -> tuple[str, ...]:
    rate = "-" if arm.rate is None else f"{arm.rate:.1f}"
    slow = "-" if arm.latency_p95 is None else f"{1000 * arm.latency_p95:.0f} ms"
    return f"`{name}`", str(arm.requests), rate, percent(arm.errors), slow


def _row(row: Row) -> tuple[str, ...]:
    what = row.title if row.threshold is None else f"{row.title} over {row.threshold:g} s"
    alarm = "-" if row.alarm_at is None else figure(row.alarm_at)
    return inert(what), percent(row.canary.share), percent(row.stable.share), figure(row.evidence), alarm
