"""The steps of a rollout, one rung each: what was planned, what became of it, and about when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.core.values import Value

PASSED, NOW, NEXT, FAILED, SKIPPED = "passed", "now", "next", "failed", "skipped"


class Rung(Value):
    """A step (from 1): the plan's `weight`, `mirror` and `bake` (s); `percent` is what it was given `since`.

    `state` is one of the words above. `verdict`, `reason` and `evidence` are of its judge, so far.
    """

    step: int
    weight: int
    mirror: int
    bake: float
    state: str
    percent: int | None = None
    since: float | None = None
    until: float | None = None
    verdict: str = ""
    reason: str = ""
    evidence: float | None = None


def judgement_of(run: SeenRun, step: int) -> dict[str, Any] | None:
    """The last word on a step: an answered question's, else its judge's."""
    for task in (f"step_{step}.ask", f"step_{step}.judge"):
        if judgement := run.left(task):
            return dict(judgement)
    return None


def ladder(plan: Plan, run: SeenRun, status: Status | None) -> list[Rung]:
    """One rung a step, as the run went so far."""
    return [_rung(plan, run, status, number) for number in range(1, len(plan.all_steps) + 1)]


def _rung(plan: Plan, run: SeenRun, status: Status | None, number: int) -> Rung:
    step = plan.all_steps[number - 1]
    shifted = run.left(f"step_{number}.shift") or {}
    values: dict[str, Any] = {
        "step": number,
        "weight": step.weight,
        "mirror": step.mirror,
        "bake": step.bake,
        "percent": shifted.get("percent"),
        "since": shifted.get("since"),
    }
    if judgement := judgement_of(run, number):
        values |= {key: judgement[key] for key in ("verdict", "reason", "evidence")}
        values["until"] = judgement["time"]
    elif status and status.step == number and (progress := status.progress):
        values |= {key: getattr(progress, key) for key in ("verdict", "reason", "evidence")}
    asked = run.question is not None and run.question.task == f"step_{number}.ask"
    decided = run.is_over or (status is not None and status.phase is Phase.RETURNING)
    return Rung(**values, state=NOW if asked else _state(decided, shifted, judgement))


def _state(decided: bool, shifted: dict[str, Any], judgement: dict[str, Any] | None) -> str:
    """`decided`: the rollout is over, or goes back, and no step is to come any more."""
    verdict = judgement["verdict"] if judgement else None
    if verdict == Verdict.ADVANCE:
        return PASSED
    if verdict == Verdict.ROLLBACK or (decided and shifted):
        return FAILED
    if shifted:
        return NOW
    return SKIPPED if decided else NEXT


class Happening(Value):
    """Something that happened at a time (Unix seconds): its kind, and a sentence."""

    time: float
    kind: str
    text: str


def happenings(plan: Plan, run: SeenRun, status: Status | None) -> list[Happening]:
    """What Airflow remembers of a run, in order of time."""
    found = [*_begun(run), *(each for rung in ladder(plan, run, status) for each in _of(run, rung))]
    return sorted([*found, *_drifted(run), *_ended(run)], key=lambda each: each.time)


def _begun(run: SeenRun) -> Iterator[Happening]:
    if run.began is not None:
        by = f" by {run.by}" if run.by else " by its schedule"
        yield Happening(time=run.began, kind="start", text=f"started{by}")


def _of(run: SeenRun, rung: Rung) -> Iterator[Happening]:
    if rung.since is not None:
        share = f"{rung.mirror} % mirrored" if rung.mirror else f"{rung.percent} %"
        yield Happening(time=rung.since, kind="raise", text=f"step {rung.step}: {share}")
    judged = run.left(f"step_{rung.step}.judge")
    if judged:
        kind = {"advance": "passed", "rollback": "alarm"}.get(judged["verdict"], "question")
        yield Happening(time=judged["time"], kind=kind, text=f"step {rung.step}: {judged['reason']}")
    by = run.left(f"step_{rung.step}.ask", "answered_by")
    asked = run.tasks.get(f"step_{rung.step}.ask")
    if asked and asked.state == "skipped":  # Airflow says of these as well when they began
        asked = None
    if judged and judged["verdict"] == Verdict.ADVANCE and asked and asked.began is not None:
        yield Happening(time=asked.began, kind="question", text=f"step {rung.step}: a person is asked")
    if by and asked and asked.ended is not None:
        yield Happening(time=asked.ended, kind="answer", text=f"answered by {by}")


def _drifted(run: SeenRun) -> Iterator[Happening]:
    """What somebody else changed, as the task tells that met it."""
    for (name, key), text in run.xcoms.items():
        task = run.tasks.get(name)
        if key == "drift" and task and task.ended is not None:
            yield Happening(time=task.ended, kind="drift", text=str(text))


def _ended(run: SeenRun) -> Iterator[Happening]:
    for task, kind, text in (
        ("rollback", "restored", "the traffic is as it was found"),
        ("promote", "promoted", "all traffic is on the canary"),
    ):
        seen = run.tasks.get(task)
        if seen and seen.state == "success" and seen.ended is not None:
            yield Happening(time=seen.ended, kind=kind, text=text)
