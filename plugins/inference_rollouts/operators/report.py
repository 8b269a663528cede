"""The last task: says how the rollout ended, and fails unless the canary was promoted."""

from __future__ import annotations

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException

from inference_rollouts.core.reporting.chart import chart
from inference_rollouts.core.reporting.report import Outcome, markdown
from inference_rollouts.operators.base import run_of
from inference_rollouts.operators.history import ending, judgements, points, why_rolled_back


class Report(BaseOperator):
    """Pushes XComs `outcome`, `reason`, `report` (markdown) and `chart` (SVG).

    It fails when the canary was not promoted, so that a rollout which did not reach its goal is red in the
    grid and alerts like any failed run.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> None:
        run, verdicts = run_of(context), judgements(context)
        plan = run.plan
        outcome, late = ending(context, run)
        promoted = outcome is Outcome.PROMOTED and verdicts
        why = str(verdicts[-1]["reason"]) if promoted else why_rolled_back(context)
        reason = f"{why} {late}".rstrip()
        text = markdown(plan, outcome, reason, verdicts)
        ti = context["ti"]
        ti.xcom_push(key="outcome", value=outcome.value)
        ti.xcom_push(key="reason", value=reason)
        ti.xcom_push(key="report", value=text)
        picture = chart(
            f"{plan.stable} -> {plan.canary}: {outcome.value}", points(context), 1 / plan.analysis.alpha
        )
        ti.xcom_push(key="chart", value=picture)
        if folder := run.frozen.storage_folder:
            run.clients.storage.write(folder, "report.md", text)
            run.clients.storage.write(folder, "chart.svg", picture)
        self.log.info("%s", text)
        if outcome is not Outcome.PROMOTED:
            raise AirflowFailException(f"{plan.canary} was not promoted; {outcome.sentence}: {reason}")
