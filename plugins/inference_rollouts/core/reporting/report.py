"""How a rollout ended, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.plan.plan import Plan


class Outcome(StrEnum):
    """Where the traffic is at the end; each has a sentence."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    NOT_STARTED = "not started"
    LET_GO = "let go"
    ASTRAY = "astray"

    @property
    def sentence(self) -> str:
        return {
            Outcome.PROMOTED: "all traffic is on the canary",
            Outcome.ROLLED_BACK: "the route is exactly as it was found",
            Outcome.NOT_STARTED: "the route was never touched",
            Outcome.LET_GO: "the route is not claimed by this run any more: somebody removed its claim, "
            "and the weights are as they left them",
            Outcome.ASTRAY: "THE ROUTE COULD NOT BE RESTORED, see the log of task rollback",
        }[self]


def outcome_of(states: Mapping[str, str], *, attached: bool = False, completed: bool = False) -> Outcome:
    """The outcome, from the states of a run's tasks `promote` and `rollback`.

    `attached`: the run had claimed the route. `completed`: task `rollback` completed a decided promotion.
    """
    match states.get("rollback"), states.get("promote"):
        case "success", _:
            return Outcome.ROLLED_BACK
        case "skipped", promote if completed or promote == "success":
            return Outcome.PROMOTED
        case "skipped", _:
            return Outcome.LET_GO if attached else Outcome.NOT_STARTED
        case _:
            return Outcome.ASTRAY


def markdown(plan: Plan, outcome: Outcome, reason: str, judgements: Sequence[Mapping[str, Any]]) -> str:
    """A summary that reads well in a log and in a note."""
    lines = [
        f"## {plan.stable} -> {plan.canary}: {outcome.value}",
        "",
        f"{reason[:1].upper()}{reason[1:]} Now {outcome.sentence}.",
        "",
        "| step | weight | verdict | why |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {number} | {step} | {judgement['verdict']} | {judgement['reason']} |"
        for number, (step, judgement) in enumerate(zip(plan.all_steps, judgements, strict=False), start=1)
    ]
    if outcome in (Outcome.PROMOTED, Outcome.ROLLED_BACK) or judgements:
        lines += ["", _left(plan, outcome)]
    return "\n".join(lines)


def _left(plan: Plan, outcome: Outcome) -> str:
    """What stays, why, and until when."""
    retire, later = f"DAG `{plan.retire_dag_id}`", "until somebody starts"
    kept = {Outcome.PROMOTED: plan.retention.keep, Outcome.ROLLED_BACK: plan.retention.keep_rolled_back}
    if (seconds := kept.get(outcome)) is not None:
        later = f"for {format_duration(seconds)} at least, then it is the turn of"
    if outcome is Outcome.PROMOTED:
        return f"`{plan.stable}` keeps running, so that all traffic can go back to it, {later} {retire}."
    return f"`{plan.canary}` keeps running for inspection, {later} {retire}."
