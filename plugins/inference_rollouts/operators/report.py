"""The last task: says how the rollout ended, and fails unless the canary was promoted."""

from __future__ import annotations

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException

from inference_rollouts.core.report import Outcome, markdown, outcome_of
from inference_rollouts.operators.base import RolloutOperator, frozen_plan
from inference_rollouts.operators.story import judgements, task_states, why_rolled_back


class Report(RolloutOperator):
    """Pushes XComs `outcome`, `reason` and `report` (markdown).

    It fails when the canary was not promoted, so that a rollout which did not reach its goal is red in the
    grid and alerts like any failed run.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> None:
        plan, said = frozen_plan(context).plan, judgements(context)
        outcome = outcome_of(task_states(context))
        reason = said[-1]["reason"] if outcome is Outcome.PROMOTED and said else why_rolled_back(context)
        text = markdown(plan, outcome, reason, said)
        ti = context["ti"]
        ti.xcom_push(key="outcome", value=outcome.value)
        ti.xcom_push(key="reason", value=reason)
        ti.xcom_push(key="report", value=text)
        self.log.info("%s", text)
        if outcome is not Outcome.PROMOTED:
            raise AirflowFailException(f"{plan.canary} was not promoted; {outcome.sentence}: {reason}")
