"""What people hear of a rollout: each of its transitions as one value, in words and as a CloudEvent.

A transition is known by the rollout's token, its occasion and its step. Whoever finds it again, after a
retry, a clear or a kill, finds the same one, with the same id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

from inference_rollouts.core.judging.judgement import Verdict, figure
from inference_rollouts.core.plan.notifications import Occasion
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.message import Severity
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.reporting.series import Reason
from inference_rollouts.core.reporting.status import where
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.values import Value

EVENT_TYPE = "dev.inference-rollouts.rollout."
"""What the types of all CloudEvents begin with; the occasion follows."""
EVENT_MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"
"""The media type of one CloudEvent in JSON (CloudEvents 1.0, JSON event format, section 3)."""
LONGEST_REASON = 1000  # characters: what a phone shows, and an incident's summary (1024) takes

ENDINGS = {
    Outcome.PROMOTED: Occasion.PROMOTED,
    Outcome.ROLLED_BACK: Occasion.ROLLED_BACK,
    Outcome.UNCONFIRMED: Occasion.ROLLED_BACK,
    Outcome.NOT_STARTED: Occasion.REFUSED,
    Outcome.LET_GO: Occasion.ASTRAY,
    Outcome.ASTRAY: Occasion.ASTRAY,
}
_SAYS = {
    Occasion.STARTED: "started",
    Occasion.REFUSED: "did not begin",
    Occasion.RAISED: "raised",
    Occasion.PAUSED: "paused",
    Occasion.ASKED: "asks whether to go on",
    Occasion.REMINDED: "still asks whether to go on",
    Occasion.ESCALATED: "asks in vain whether to go on",
    Occasion.ALARM: "ALARM, the canary's traffic is taken away",
    Occasion.DRIFT: "stopped, because somebody else changed what it moves",
    Occasion.UNWATCHED: "is watched by no Airflow any more",
    Occasion.LINGERS: "takes longer than it should",
    Occasion.PROMOTED: "promoted",
    Occasion.ROLLED_BACK: "rolled back",
    Occasion.ASTRAY: "ENDED ASTRAY",
}
_CRITICAL = {Occasion.ASTRAY, Occasion.ESCALATED, Occasion.UNWATCHED}
_BAD = {Occasion.ALARM, Occasion.ROLLED_BACK, Occasion.DRIFT, Occasion.REFUSED, Occasion.LINGERS}


class Transition(Value):
    """What became of a rollout at `step` of `steps` (0: before the first), where the canary has `percent` %.

    `token` is the rollout's; `reason` is a sentence, of others too; `link` leads to where people answer or
    read on. `figures` are the judge's, by name.
    """

    occasion: Occasion
    token: str
    step: int
    steps: int
    percent: int
    plan: str
    namespace: str
    run: str
    stable: str
    canary: str
    reason: str
    link: str
    figures: dict[str, float]

    @property
    def id(self) -> str:
        """The same however often it is told, and of no other transition."""
        return f"{self.token}/{self.occasion.value}/{self.step}"

    @property
    def headline(self) -> str:
        """What happened to what, on one line of plain text."""
        share = f" - {where(self.percent, 0, self.step, self.steps)}" if self.step else ""
        return _line(f"{self.plan}: {self.stable} -> {self.canary} {_SAYS[self.occasion]}{share}")

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        if self.occasion in _CRITICAL:
            return "critical"
        return "error" if self.occasion in _BAD else "info"

    @property
    def source(self) -> str:
        """The plan's name."""
        return self.plan

    @property
    def html(self) -> str:
        """The text for a mail: each line a paragraph, the address a link."""
        lines = [f"<p>{escape(line)}</p>" for line in self.text.splitlines() if line != self.link]
        if self.link:
            lines.append(f'<p><a href="{escape(self.link)}">{escape(self.link)}</a></p>')
        return "\n".join(lines)

    def details(self) -> dict[str, Any]:
        """All of it, by name."""
        return self.to_json()

    @property
    def text(self) -> str:
        """All of it as plain text: headline, reason, figures, link, a line each."""
        figures = ", ".join(f"{name} {figure(value)}" for name, value in self.figures.items())
        return "\n".join(filter(None, (self.headline, _line(self.reason), figures, self.link)))

    def cloud_event(self, now: float) -> dict[str, Any]:
        """As CloudEvents 1.0 has it, told at `now` (Unix seconds). Source and id are the same each time."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/inference-rollouts/{self.namespace}/{self.plan}",
            "type": f"{EVENT_TYPE}{self.occasion.value}",
            "subject": self.run,
            "time": datetime.fromtimestamp(now, UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": {**self.to_json(), "headline": self.headline},
        }


@dataclass(frozen=True, slots=True)
class Course:
    """What a run has left behind so far, as its tasks recorded it.

    `raised` are the steps (from 1) whose weights were set, `passed` the judgements that let steps pass, by
    step, `alarms` those that took the traffic away, `drift` what somebody else changed, `declined`
    whether a person, or their silence, sent it back, and `ended` how it ended, and why.
    """

    frozen: Frozen
    raised: tuple[int, ...] = ()
    alarms: tuple[Mapping[str, Any], ...] = ()
    passed: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    drift: str = ""
    declined: bool = False
    ended: tuple[Outcome, str] | None = None


def transitions(course: Course) -> Iterator[Transition]:
    """All that people are to have heard of it by now, in order."""
    frozen = course.frozen
    yield of_run(frozen, Occasion.STARTED, 0, "")
    for step in course.raised:
        before = course.passed.get(step - 1, {})
        yield of_run(frozen, Occasion.RAISED, step, str(before.get("reason", "")), figures_of(before))
    for judgement in course.alarms:
        step = int(judgement["step"])
        yield of_run(frozen, Occasion.ALARM, step, str(judgement["reason"]), figures_of(judgement))
    last = course.raised[-1] if course.raised else 0
    if course.drift:
        yield of_run(frozen, Occasion.DRIFT, last, course.drift)
    if course.ended:
        outcome, why = course.ended
        reason = f"{why.rstrip('.')}. Now {outcome.sentence}."
        yield of_run(frozen, ENDINGS[outcome], last, reason)


def reason_of(course: Course) -> Reason:
    """Why a run ended, in a word."""
    if course.ended and course.ended[0] is Outcome.PROMOTED:
        return Reason.PASSED
    if course.alarms:
        return Reason.ALARM
    if course.drift:
        return Reason.DRIFT
    return Reason.PERSON if course.declined else Reason.FAILURE


def of_run(
    frozen: Frozen,
    occasion: Occasion,
    step: int,
    reason: str,
    figures: Mapping[str, float] | None = None,
    link: str = "",
) -> Transition:
    """A transition of a run; `link` leads to the run itself if nothing else is said."""
    plan = frozen.plan
    return Transition(
        occasion=occasion,
        token=frozen.token,
        step=step,
        steps=len(plan.all_steps),
        percent=plan.all_steps[step - 1].weight if step else 0,
        plan=plan.name,
        namespace=plan.namespace,
        run=frozen.run,
        stable=plan.stable,
        canary=plan.canary,
        reason=reason[:LONGEST_REASON],
        link=link or frozen.link,
        figures=dict(figures or {}),
    )


def of_claim(claim: Claim, namespace: str, occasion: Occasion, reason: str) -> Transition:
    """A transition of a rollout of which only the claim is known."""
    return Transition(
        occasion=occasion,
        token=claim.token,
        step=claim.step,
        steps=claim.steps,
        percent=claim.percent,
        plan=claim.plan,
        namespace=namespace,
        run=claim.owner.run,
        stable=claim.stable,
        canary=claim.canary,
        reason=reason[:LONGEST_REASON],
        link=claim.owner.link,
        figures={},
    )


def refusal(plan: Plan, run: str, link: str, why: str) -> Transition:
    """A run that preflight refused: it has no token yet. The same words about the same run are the same."""
    words = hashlib.sha256(why.encode()).hexdigest()[:16]
    return of_plan(plan, Occasion.REFUSED, f"{run}/{words}", run, link, why)


def as_asked(plan: Plan, wanted: Mapping[str, Any]) -> Plan:
    """The plan with the pools that a run asked for by its parameters: valid or not, people hear of them."""
    pools = {side: wanted[side] for side in ("stable", "canary") if isinstance(wanted.get(side), str)}
    return plan.model_copy(update={side: name[:LONGEST_REASON] for side, name in pools.items() if name})


def of_plan(plan: Plan, occasion: Occasion, token: str, run: str, link: str, reason: str) -> Transition:
    """A transition of a run of which only the plan is known."""
    return Transition(
        occasion=occasion,
        token=token,
        step=0,
        steps=len(plan.all_steps),
        percent=0,
        plan=plan.name,
        namespace=plan.namespace,
        run=run,
        stable=plan.stable,
        canary=plan.canary,
        reason=reason[:LONGEST_REASON],
        link=link,
        figures={},
    )


def is_alarm(judgement: Mapping[str, Any]) -> bool:
    """Whether a judgement took the canary's traffic away."""
    return bool(judgement["verdict"] == Verdict.ROLLBACK.value)


def figures_of(judgement: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a judgement that fit into a message: evidence, and both arms' totals of its step."""
    figures = {"evidence": judgement.get("evidence"), "alarm_at": judgement.get("alarm_at")}
    for side in ("canary", "stable"):
        totals = judgement.get(side) or {}
        figures |= {f"{side}_{name}": totals.get(name) for name in ("requests", "errors", "latency_p95")}
    return {name: float(value) for name, value in figures.items() if value is not None}


def _line(text: str) -> str:
    """On one line, without characters that steer a terminal or a mail."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
