"""How a rollout ended, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.objects.takeover import Finding
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.takeover import summary
from inference_rollouts.core.reporting.text import capital, inert
from inference_rollouts.core.routing.claim import Command, Standing


class Outcome(StrEnum):
    """Where the traffic is at the end; each has a sentence."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    UNCONFIRMED = "restored, not yet confirmed"
    NOT_STARTED = "not started"
    LET_GO = "let go"
    ASTRAY = "astray"

    @property
    def sentence(self) -> str:
        return {
            Outcome.PROMOTED: "all traffic is on the canary",
            Outcome.ROLLED_BACK: "the route is exactly as it was found",
            Outcome.UNCONFIRMED: "the route is exactly as it was found, and not all of its gateways say "
            "that they have taken it",
            Outcome.NOT_STARTED: "the route was never touched",
            Outcome.LET_GO: "the route is not claimed by this run any more: somebody removed its claim, "
            "and the weights are as they left them",
            Outcome.ASTRAY: "THE ROUTE IS NEITHER PROMOTED NOR RESTORED: see the log of task rollback, or "
            "run inference-rollouts restore",
        }[self]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a rollout ended as it did (`why`, a sentence), and by whom or what it was ended (`by`)."""

    why: str
    by: str


def first_line(title: str, outcome: Outcome, cause: Cause) -> str:
    """What ended how, by whom, why, and where the traffic is now: all that somebody in a hurry reads.

    `title` is markup already.
    """
    why = inert(capital(cause.why).rstrip("."))
    return f"**{title}: {outcome.value}** by {inert(cause.by)}. {why}. Now {outcome.sentence}."


def outcome_of(standings: Sequence[Standing], *, attached: bool) -> Outcome:
    """The outcome, from how each object that the run moves stands to it now, whoever ended it.

    `attached`: the run claimed all of them once; else those that are free were never claimed. An object that
    is gone takes no traffic anywhere.
    """
    here = {standing for standing in standings if standing is not Standing.GONE}
    if here & {Standing.CLAIMED, Standing.UNREADABLE}:
        return Outcome.ASTRAY
    if here == {Standing.PROMOTED}:
        return Outcome.PROMOTED
    if Standing.PROMOTED in here:
        return Outcome.ASTRAY
    if here == {Standing.RESTORED} or (Standing.RESTORED in here and not attached):
        return Outcome.ROLLED_BACK
    return Outcome.LET_GO if attached else Outcome.NOT_STARTED


def markdown(
    plan: Plan,
    outcome: Outcome,
    cause: Cause,
    judgements: Sequence[Mapping[str, Any]],
    override: str = "",
    commands: Sequence[Command] = (),
    findings: Sequence[Finding] = (),
) -> str:
    """A summary that reads well in a log and in a note.

    `override` is why windows did not hold; `findings` what the canary has of all that stable has.
    """
    lines = [
        first_line(f"{plan.stable} -> {plan.canary}", outcome, cause),
        *(["", f"Windows and blackouts did not hold for this run: {inert(override)}"] if override else []),
        "",
        "| step | weight | verdict | why |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {number} | {step} | {judgement['verdict']} | {inert(judgement['reason'])} |"
        for number, (step, judgement) in enumerate(zip(plan.all_steps, judgements, strict=False), start=1)
    ]
    if commands:
        lines += [
            "",
            "Commands: " + "; ".join(inert(f"{each.what.value} by {each}") for each in commands) + ".",
        ]
    if outcome in (Outcome.PROMOTED, Outcome.ROLLED_BACK, Outcome.UNCONFIRMED) or judgements:
        lines += ["", _left(plan, outcome)]
    if findings:
        lines += ["", summary(findings)]
    return "\n".join(lines)


def _left(plan: Plan, outcome: Outcome) -> str:
    """What stays, why, and until when."""
    retire, later = f"DAG `{plan.retire_dag_id}`", "until somebody starts"
    kept = {
        Outcome.PROMOTED: plan.retention.keep,
        Outcome.ROLLED_BACK: plan.retention.keep_rolled_back,
        Outcome.UNCONFIRMED: plan.retention.keep_rolled_back,
    }
    if (seconds := kept.get(outcome)) is not None:
        later = f"for {format_duration(seconds)} at least, then it is the turn of"
    if outcome is Outcome.PROMOTED:
        return f"`{plan.stable}` keeps running, so that all traffic can go back to it, {later} {retire}."
    return f"`{plan.canary}` keeps running for inspection, {later} {retire}."
