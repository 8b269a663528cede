"""The last task: says how the rollout ended, and fails unless the canary was promoted."""

from __future__ import annotations

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException

from inference_rollouts.core.reporting.chart import chart
from inference_rollouts.core.reporting.report import Outcome, markdown
from inference_rollouts.hooks.storage import store
from inference_rollouts.operators.base import RolloutOperator, frozen_plan
from inference_rollouts.operators.history import ending, judgements, points, why_rolled_back


class Report(RolloutOperator):
    """Pushes XComs `outcome`, `reason`, `report` (markdown) and `chart` (SVG).

    It fails when the canary was not promoted, so that a rollout which did not reach its goal is red in the
    grid and alerts like any failed run.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> None:
        frozen, said = frozen_plan(context), judgements(context)
        plan = frozen.plan
        outcome = ending(context)
        reason = said[-1]["reason"] if outcome is Outcome.PROMOTED and said else why_rolled_back(context)
        text = markdown(plan, outcome, reason, said)
        ti = context["ti"]
        ti.xcom_push(key="outcome", value=outcome.value)
        ti.xcom_push(key="reason", value=reason)
        ti.xcom_push(key="report", value=text)
        picture = chart(
            f"{plan.stable} -> {plan.canary}: {outcome.value}", points(context), 1 / plan.analysis.alpha
        )
        ti.xcom_push(key="chart", value=picture)
        store(frozen, "report.md", text)
        store(frozen, "chart.svg", picture)
        self.log.info("%s", text)
        if outcome is not Outcome.PROMOTED:
            raise AirflowFailException(f"{plan.canary} was not promoted; {outcome.sentence}: {reason}")
