"""What has happened in a run so far, read from Airflow: verdicts and the states of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.reporting.chart import Point
from inference_rollouts.core.reporting.report import Cause, Outcome, outcome_of
from inference_rollouts.core.reporting.transition import Course, is_alarm
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.operators.base import CLAIMING, DRIFT, FAILURE, PREFLIGHT
from inference_rollouts.rollout.run import Run

ENDED = frozenset({"success", "failed", "skipped"})
DEAD = frozenset({"failed", "upstream_failed"})
RESTORED = "restored"  # XCom of task rollback: what it restored
ALARM = "alarm"  # XCom of a task that shifts: the judgement that took the traffic away while it waited
ANSWERED_BY = "answered_by"  # XCom of a task whose end a person decided: whose answer, or command, it was

JUDGING = {"judge": "return_value", "ask": "return_value", "shift": ALARM}
"""The tasks of a step that leave judgements, and under which key."""


def task_states(context: Context) -> dict[str, str]:
    """State of every task of this run, by task id."""
    ti, run = context["ti"], context["dag_run"]
    states: Mapping[str, Mapping[str, Any]] = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])
    return {task: str(getattr(state, "value", state)) for task, state in states.get(run.run_id, {}).items()}


def ending(context: Context, run: Run) -> tuple[Outcome, str]:
    """How the run ended, by what it moves: tasks may have been marked, and people may have acted.

    Besides, what keeps a rollback from being confirmed; empty if nothing does.
    """
    states = task_states(context)
    attached = any(states.get(task) == "success" for task in CLAIMING)
    outcome = outcome_of(run.traffic.standings(), attached=attached)
    if outcome is not Outcome.ROLLED_BACK:
        return outcome, ""
    answer = run.confirmation()
    if answer.phase is Phase.READY:
        return outcome, ""
    return Outcome.UNCONFIRMED, f"{answer.message.rstrip('.')}."


def judgements(context: Context) -> list[dict[str, Any]]:
    """The last judgement of each step, in the order of the steps that were judged."""
    return [values[-1] for values in _by_step(context, "return_value") if values]


def points(context: Context) -> list[Point]:
    """Every observation of every step, in order."""
    by_step = _by_step(context, "points")
    return [Point(*values) for series in by_step for points in series for values in points]


def _by_step(context: Context, key: str) -> list[list[Any]]:
    """What the judge of each step left under a key, and then the task that asks a person about it."""
    tasks = context["dag"].task_ids
    steps = sum(task.endswith(".judge") for task in tasks)
    names = [[f"step_{n}.judge", f"step_{n}.ask"] for n in range(1, steps + 1)]
    pulled = [[context["ti"].xcom_pull(task_ids=t, key=key) for t in step if t in tasks] for step in names]
    return [[value for value in step if value] for step in pulled]


def course(context: Context, frozen: Frozen) -> Course:
    """What the tasks that have ended in this try of the run left; earlier tries' may still be there."""
    ti, states, steps = context["ti"], task_states(context), len(frozen.plan.all_steps)
    failed = [*(task for task, state in states.items() if state == "failed"), ti.task_id]
    states[ti.task_id] = "success"  # it has ended: its state is only being told

    def left(task: str, key: str = "return_value") -> Any:
        return ti.xcom_pull(task_ids=task, key=key) if states.get(task) in ENDED else None

    tasks = [(f"step_{n}.{task}", key) for n in range(1, steps + 1) for task, key in JUDGING.items()]
    tasks.append(("promote", ALARM))
    judged = [(left(task, key), left(task, ANSWERED_BY)) for task, key in tasks]
    final = [(judgement, person) for judgement, person in judged if judgement]
    ended = left("report", "outcome")
    return Course(
        frozen=frozen,
        raised=tuple(n for n in range(1, steps + 1) if left(f"step_{n}.shift")),
        passed={each["step"]: each for each, _ in final if each["verdict"] == Verdict.ADVANCE.value},
        alarms=tuple(each for each, person in final if is_alarm(each) and not person),
        declined=any(is_alarm(each) and person for each, person in final),
        drift=next(filter(None, (left(task, DRIFT) for task in failed)), ""),
        ended=(Outcome(ended), str(left("report", "reason"))) if ended else None,
    )


def is_refused(context: Context) -> bool:
    """Whether preflight decided nothing in this run, so that no other task had anything to do."""
    return task_states(context).get(PREFLIGHT) in {*DEAD, "skipped"}


def cause(context: Context) -> Cause:
    """Why it goes back: the verdict against the canary, else the task that failed, else a person's doing."""
    if mistake := getattr(context["dag"].task_dict[PREFLIGHT], "mistake", ""):
        when = "is invalid" if is_refused(context) else "became invalid while it ran"
        return Cause(f"the plan {when}: {mistake}", "the plan's file")
    verdicts = judgements(context)
    if verdicts and verdicts[-1]["verdict"] == Verdict.ROLLBACK.value:
        return verdict_of(context, verdicts[-1])
    failed = sorted(task for task, state in task_states(context).items() if state == "failed")
    if failed:
        reasons = [context["ti"].xcom_pull(task_ids=task, key=FAILURE) for task in failed]
        why = next(filter(None, reasons), f"task {', '.join(failed)} failed")
        return Cause(why, _person(context, failed) or f"task {', '.join(failed)}")
    return Cause(
        "the run was stopped before it was decided", "whoever stopped the run, see Airflow's audit log"
    )


def verdict_of(context: Context, judgement: Mapping[str, Any]) -> Cause:
    """The last word on a step, and whose it was: a person's, by command or answer, or its judge's."""
    step = judgement["step"]
    person = _person(context, [f"step_{step}.ask", f"step_{step}.judge"])
    return Cause(str(judgement["reason"]), person or f"the judge of step {step}")


def keep_person(context: Context, event: Mapping[str, Any]) -> None:
    """Remember whose command a trigger's event comes of, if it does."""
    if person := event.get("by"):
        context["ti"].xcom_push(key=ANSWERED_BY, value=person)


def _person(context: Context, tasks: Sequence[str]) -> str:
    """Who decided the end of one of these tasks; empty where no person did."""
    people = (context["ti"].xcom_pull(task_ids=task, key=ANSWERED_BY) for task in tasks)
    return next(filter(None, people), "")
