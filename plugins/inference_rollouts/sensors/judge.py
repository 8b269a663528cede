"""The metrics sensor: waits in the triggerer until a step's verdict is final."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.operators.base import RolloutOperator, frozen_plan, telling
from inference_rollouts.triggers.judge import JudgeTrigger

SLACK = timedelta(minutes=15)  # the judge ends by its own policy; Airflow's timeout is only a net below it


class Judge(RolloutOperator):
    """Defers to a JudgeTrigger; returns the judgement (see `core.judge.Judgement`) as XCom.

    XCom `record` is the decision record (bounded; `inference-rollouts replay` judges it again),
    `points` what charts need of every look.
    """

    ui_color = "#fff8e1"

    def __init__(self, *, step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> None:
        frozen, ti = frozen_plan(context), context["ti"]
        plan = frozen.plan
        shifted = ti.xcom_pull(task_ids=f"step_{self.step}.shift")
        before = ti.xcom_pull(task_ids=f"step_{self.step - 1}.judge") if self.step > 1 else None
        longest = plan.settle + plan.rungs[self.step - 1].bake + plan.analysis.patience + plan.deadlines.route
        self.defer(
            trigger=JudgeTrigger(
                frozen=frozen.to_json(),
                step=self.step,
                since=shifted["since"],
                carried=before["carried"] if before else None,
            ),
            method_name="decided",
            timeout=timedelta(seconds=longest) + SLACK,
        )

    @telling
    def decided(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Raises RolloutError when the route was lost to others while it was judged."""
        if "error" in event:
            raise RolloutError(event["error"])
        judgement: dict[str, Any] = event["judgement"]
        context["ti"].xcom_push(key="record", value=event["record"])
        context["ti"].xcom_push(key="points", value=event["points"])
        self.log.info("%s: %s", judgement["verdict"], judgement["reason"])
        return judgement
