"""On to the next step, to the end, or back: what is ruled out is skipped at once."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException, DownstreamTasksSkipped
from airflow.sdk.execution_time.comms import SkipDownstreamTasks

from inference_rollouts.core.judging.judgement import Verdict

PROMOTE = "promote"  # the task that ends a rollout whose last step has passed

log = logging.getLogger(__name__)


def pass_on(operator: BaseOperator, context: Context, judgement: dict[str, Any], last: int) -> dict[str, Any]:
    """What a task leaves that ends with a judgement: on to the next step, after the `last` to the promotion.

    A step that does not pass fails its task, so that the grid shows where the rollout ended.
    """
    context["ti"].xcom_push(key="return_value", value=judgement)  # what is raised would leave none
    if judgement["verdict"] != Verdict.ADVANCE:
        rule_out(following(operator))
        raise AirflowFailException(judgement["reason"])
    if unneeded := _unneeded(operator, judgement["step"], last):
        raise DownstreamTasksSkipped(tasks=unneeded)
    return judgement


def following(operator: BaseOperator) -> list[str]:
    """The tasks that run only if this one succeeds: all that follow but those at the end of every run."""
    return sorted(
        task.task_id for task in operator.get_flat_relatives(upstream=False) if not task.is_teardown
    )


def rule_out(tasks: list[str]) -> None:
    """Skip tasks at once: Airflow would go from each to the next with a look of its own, which takes as many
    seconds as a plan has tasks. It would come to the same, so this does its best and no more.
    """
    try:
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        SUPERVISOR_COMMS.send(SkipDownstreamTasks(tasks=tasks))
    except Exception as error:
        log.warning("what follows is not skipped at once: %s", error)


def _unneeded(operator: BaseOperator, step: int, last: int) -> list[str]:
    """After a step that passed: the question about it, and steps that the plan has and this run has not."""
    ask = f"step_{step}.ask"
    return [task for task in following(operator) if task == ask or (step == last and task != PROMOTE)]
