"""The gate after each judge: on to the next step, to the end, or back."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import DownstreamTasksSkipped

from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.operators.base import frozen_plan


class Gate(BaseOperator):
    """Branches on the verdict of its step and skips everything that is ruled out, at once.

    `judge` is the task whose judgement counts: the judge, or the one that asks a person about it. The gate
    runs also when that died (trigger rule `all_done`), so that a rollback starts as fast from the first step
    of twenty as from the last: nothing cascades through the steps between.
    """

    ui_color = "#f1f3f4"

    def __init__(self, *, step: int, judge: str, later: list[str], promote: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.judge = judge
        self.later = later
        self.promote = promote

    def execute(self, context: Context) -> None:
        judgement = context["ti"].xcom_pull(task_ids=self.judge)
        if not judgement or judgement["verdict"] != Verdict.ADVANCE.value:
            self.log.info("step %d did not pass: rolling back", self.step)
            raise DownstreamTasksSkipped(tasks=[*self.later, self.promote])
        if self.step == len(frozen_plan(context).plan.all_steps):
            self.log.info("the last step passed: promoting")
            if self.later:
                raise DownstreamTasksSkipped(tasks=list(self.later))
        self.log.info("step %d passed: %s", self.step, judgement["reason"])
