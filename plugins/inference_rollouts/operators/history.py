"""What has happened in a run so far, read from Airflow: verdicts and the states of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.reporting.chart import Point
from inference_rollouts.core.reporting.report import Cause, Outcome, outcome_of
from inference_rollouts.operators.base import CLAIMING, FAILURE, PREFLIGHT
from inference_rollouts.rollout.run import Run

DEAD = frozenset({"failed", "upstream_failed"})
RESTORED = "restored"  # XCom of task rollback: what it restored
ANSWERED_BY = "answered_by"  # XCom of a task whose end a person decided: whose answer, or command, it was


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
        step = verdicts[-1]["step"]
        person = _person(context, [f"step_{step}.ask", f"step_{step}.judge"])
        return Cause(str(verdicts[-1]["reason"]), person or f"the judge of step {step}")
    failed = sorted(task for task, state in task_states(context).items() if state == "failed")
    if failed:
        reasons = [context["ti"].xcom_pull(task_ids=task, key=FAILURE) for task in failed]
        why = next(filter(None, reasons), f"task {', '.join(failed)} failed")
        return Cause(why, _person(context, failed) or f"task {', '.join(failed)}")
    return Cause(
        "the run was stopped before it was decided", "whoever stopped the run, see Airflow's audit log"
    )


def keep_person(context: Context, event: Mapping[str, Any]) -> None:
    """Remember whose command a trigger's event comes of, if it does."""
    if person := event.get("by"):
        context["ti"].xcom_push(key=ANSWERED_BY, value=person)


def _person(context: Context, tasks: Sequence[str]) -> str:
    """Who decided the end of one of these tasks; empty where no person did."""
    people = (context["ti"].xcom_pull(task_ids=task, key=ANSWERED_BY) for task in tasks)
    return next(filter(None, people), "")
