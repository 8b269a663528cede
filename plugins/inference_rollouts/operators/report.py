"""The last task: says how the rollout ended, and fails unless the canary was promoted."""

from __future__ import annotations

import time

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowFailException

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.reporting.chart import chart
from inference_rollouts.core.reporting.digest import Ended, ended_of
from inference_rollouts.core.reporting.report import Cause, Outcome, first_line, markdown
from inference_rollouts.core.reporting.text import inert
from inference_rollouts.operators.assets import announce_good_end
from inference_rollouts.operators.base import ENDED, PREFLIGHT, SUMMARY, WELL, earlier_token, run_of
from inference_rollouts.operators.history import (
    RESTORED,
    cause,
    ending,
    is_refused,
    judgements,
    points,
    verdict_of,
)
from inference_rollouts.operators.links import ReportLink
from inference_rollouts.rollout.claims import commands_to
from inference_rollouts.rollout.run import Run


class Report(BaseOperator):
    """Pushes XComs `outcome`, `reason`, `report` (markdown) and `chart` (SVG).

    It fails when the canary was not promoted, so that a rollout which did not reach its goal is red in the
    grid and alerts like any failed run. Of a run that ended at preflight it repeats what that said.
    """

    ui_color = "#f1f3f4"
    operator_extra_links = (ReportLink(),)

    def execute(self, context: Context) -> None:
        if seen := context["ti"].xcom_pull(task_ids=PREFLIGHT, key=SUMMARY):
            context["ti"].xcom_push(key="report", value=seen)
            if ended := context["ti"].xcom_pull(task_ids=PREFLIGHT, key=ENDED):
                context["ti"].xcom_push(key=ENDED, value=ended)
            if well := context["ti"].xcom_pull(task_ids=PREFLIGHT, key=WELL):
                announce_good_end(context, well["plan"], well["rolled_back"])
            return
        try:
            run = run_of(context)
        except PlanInvalid:
            if not is_refused(context):
                raise
            outcome, ended = _refused(context)
            text = first_line(_title(context), outcome, ended)
            self._tell_night(context, _unbegun(context, outcome, ended))
        else:
            outcome, ended = _ended(context, run)
            frozen = run.frozen
            text = markdown(
                run.plan,
                outcome,
                ended,
                judgements(context),
                frozen.calendar.override,
                commands_to(run.cluster, frozen.targets, frozen.token),
                frozen.findings,
            )
            self._leave(context, run, outcome, text)
            told = ended_of(run.frozen, outcome.value, ended.why, judgements(context), time.time())
            self._tell_night(context, told)
        for key, value in (("outcome", outcome.value), ("reason", ended.why), ("report", text)):
            context["ti"].xcom_push(key=key, value=value)
        self.log.info("%s", text)
        if outcome is not Outcome.PROMOTED:
            raise AirflowFailException(f"The canary was not promoted; {outcome.sentence}: {ended.why}")
        announce_good_end(context, run.plan.name)

    def _tell_night(self, context: Context, ended: Ended) -> None:
        """What the morning report says of this run."""
        context["ti"].xcom_push(key=ENDED, value=ended.to_json())

    def _leave(self, context: Context, run: Run, outcome: Outcome, text: str) -> None:
        """The chart, and both in the plan's storage."""
        plan = run.plan
        title = f"{plan.stable} -> {plan.canary}: {outcome.value}"
        picture = chart(title, points(context), 1 / plan.analysis.alpha)
        context["ti"].xcom_push(key="chart", value=picture)
        if folder := run.frozen.storage_folder:
            run.clients.storage.write(folder, "report.md", [text])
            run.clients.storage.write(folder, "chart.svg", [picture])


def _ended(context: Context, run: Run) -> tuple[Outcome, Cause]:
    """How a rollout ended, and why."""
    outcome, late = ending(context, run)
    verdicts = judgements(context)
    if outcome is Outcome.PROMOTED and verdicts:
        return outcome, verdict_of(context, verdicts[-1])
    ended = cause(context)
    return outcome, Cause(f"{ended.why} {late}".rstrip(), ended.by)


def _refused(context: Context) -> tuple[Outcome, Cause]:
    """The same for a run that preflight refused; what an earlier try of it claimed went back."""
    if context["ti"].xcom_pull(task_ids="rollback", key=RESTORED):
        return Outcome.ROLLED_BACK, cause(context)
    return Outcome.ASTRAY if earlier_token(context) else Outcome.NOT_STARTED, cause(context)


def _unbegun(context: Context, outcome: Outcome, ended: Cause) -> Ended:
    """The same for the morning report."""
    params, now = context.get("params") or {}, time.time()
    return Ended(
        stable=str(params.get("stable", "")),
        canary=str(params.get("canary", "")),
        version="",
        began=now,
        ended=now,
        outcome=outcome.value,
        why=ended.why,
    )


def _title(context: Context) -> str:
    """What was to go from where to where, as far as that is known."""
    params = context.get("params") or {}
    sides = [inert(str(params[side])) for side in ("stable", "canary") if side in params]
    return " -> ".join(sides) or context["dag"].dag_id
