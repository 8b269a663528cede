"""What has happened in a run so far, read from Airflow: verdicts and the states of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.judging.judge import Verdict
from inference_rollouts.core.reporting.chart import Point
from inference_rollouts.core.reporting.report import Outcome, outcome_of
from inference_rollouts.operators.base import FAILURE
from inference_rollouts.rollout.traffic import Restored

DEAD = frozenset({"failed", "upstream_failed"})
ATTACHING = frozenset({"deploy_pool", "load_adapter"})
RESTORED = "restored"  # XCom of task rollback: what it found and did


def task_states(context: Context) -> dict[str, str]:
    """State of every task of this run, by task id."""
    ti, run = context["ti"], context["dag_run"]
    states: Mapping[str, Mapping[str, Any]] = ti.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])
    return {task: str(getattr(state, "value", state)) for task, state in states.get(run.run_id, {}).items()}


def attached(states: Mapping[str, str]) -> bool:
    """Whether a task that ended well held what the run moves."""
    held = (task for task, state in states.items() if state == "success")
    return any(task in ATTACHING or task.endswith(".shift") for task in held)


def ending(context: Context) -> Outcome:
    """How the run ended."""
    states = task_states(context)
    restored = context["ti"].xcom_pull(task_ids="rollback", key=RESTORED)
    return outcome_of(states, attached=attached(states), completed=restored == Restored.COMMITTED)


def judgements(context: Context) -> list[dict[str, Any]]:
    """The last word on each step, in the order of the steps that were judged."""
    return [said[-1] for said in _said(context, "return_value") if said]


def points(context: Context) -> list[Point]:
    """Every look at every step, in order."""
    return [Point(*values) for said in _said(context, "points") for looks in said for values in looks]


def _said(context: Context, key: str) -> list[list[Any]]:
    """By step: what its judge left under this key, and then the task that asks a person about it."""
    tasks = context["dag"].task_ids
    steps = sum(task.endswith(".judge") for task in tasks)
    names = [[f"step_{n}.judge", f"step_{n}.ask"] for n in range(1, steps + 1)]
    found = [[context["ti"].xcom_pull(task_ids=t, key=key) for t in step if t in tasks] for step in names]
    return [[value for value in step if value] for step in found]


def why_rolled_back(context: Context) -> str:
    """One sentence: the verdict against the canary, else the task that failed, else a person's doing."""
    said = judgements(context)
    if said and said[-1]["verdict"] == Verdict.ROLLBACK.value:
        return str(said[-1]["reason"])
    failed = sorted(task for task, state in task_states(context).items() if state == "failed")
    if failed:
        told = [context["ti"].xcom_pull(task_ids=task, key=FAILURE) for task in failed]
        return next(filter(None, told), f"task {', '.join(failed)} failed")
    return "the run was stopped before it was decided"
