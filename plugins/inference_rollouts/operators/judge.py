"""The judge of a step: waits in the triggerer until its verdict is final."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.errors import NotReady
from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.limits import JUDGE_GRACE, LONGEST_HOLD
from inference_rollouts.core.reporting.approval import question
from inference_rollouts.operators.base import frozen_plan, records_failure, resumes
from inference_rollouts.operators.branching import pass_on
from inference_rollouts.operators.history import keep_person
from inference_rollouts.operators.links import GraphLink, RecordLink, StatusLink
from inference_rollouts.triggers.event import error_of


class Judge(BaseOperator):
    """Defers to a JudgeTrigger; its XCom is the judgement (see `core.judging.judgement`).

    Where a person is to be asked about it the next task does so; else it goes on, or fails, itself.
    XCom `record` is the decision record (bounded; `inference-rollouts replay` judges it again),
    `points` what charts need of every observation.
    """

    ui_color = "#fff8e1"
    operator_extra_links = (StatusLink(), GraphLink(), RecordLink())

    def __init__(self, *, step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    @records_failure
    def execute(self, context: Context) -> None:
        """Raises NotReady where the shift before it was not done, but marked as successful."""
        # Imported on use: tasks that judge nothing start without numpy.
        from inference_rollouts.triggers.judge import JudgeTrigger

        frozen, ti = frozen_plan(context), context["ti"]
        plan = frozen.plan
        shifted = ti.xcom_pull(task_ids=f"step_{self.step}.shift")
        if not shifted:
            raise NotReady(f"Task step_{self.step}.shift has moved nothing, so there is nothing to judge.")
        before = ti.xcom_pull(task_ids=f"step_{self.step - 1}.judge") if self.step > 1 else None
        longest = (
            plan.initial_delay
            + plan.all_steps[self.step - 1].bake
            + plan.analysis.progress_deadline
            + plan.deadlines.route
        )
        self.defer(
            trigger=JudgeTrigger(
                frozen=frozen.to_json(),
                step=self.step,
                since=shifted["since"],
                carried=before["carried"] if before else None,
            ),
            method_name="decided",
            timeout=timedelta(seconds=longest) + JUDGE_GRACE + LONGEST_HOLD,
        )

    @records_failure
    @resumes
    def decided(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Raises RolloutError when the route was lost to others while it was judged."""
        if "error" in event:
            raise error_of(event)
        judgement: dict[str, Any] = event["judgement"]
        context["ti"].xcom_push(key="record", value=event["record"])
        context["ti"].xcom_push(key="points", value=event["points"])
        keep_person(context, event)
        self.log.info("%s: %s", judgement["verdict"], judgement["reason"])
        frozen = frozen_plan(context)
        can_ask = f"step_{self.step}.ask" in self.downstream_task_ids
        if can_ask and not event.get("by") and question(frozen.plan, Judgement.from_json(judgement)):
            return judgement
        return pass_on(self, context, judgement, len(frozen.plan.all_steps))
