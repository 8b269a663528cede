"""Plan -> DAG: the whole pipeline on one screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, Param, TaskGroup, TriggerRule, chain
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.definitions.param import ParamsDict

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.plan.files import Refused
from inference_rollouts.core.plan.notifications import Occasion
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.run.form import Form, form_of
from inference_rollouts.core.run.pace import lingers_after
from inference_rollouts.core.run.pipeline import endings, preparation
from inference_rollouts.operators.adapter import LoadAdapter
from inference_rollouts.operators.ask import Ask
from inference_rollouts.operators.assets import ended, heard, well
from inference_rollouts.operators.base import BEFORE_ALL, BEGUN_FIRST, PREFLIGHT, RETRIES, ROLLBACK_RETRIES
from inference_rollouts.operators.deploy_pool import DeployPool
from inference_rollouts.operators.judge import Judge
from inference_rollouts.operators.notify import LAST_WORDS, telling
from inference_rollouts.operators.preflight import InvalidPlan, Preflight
from inference_rollouts.operators.preview import EndPreview
from inference_rollouts.operators.ready import ProvisionNodes
from inference_rollouts.operators.report import Report
from inference_rollouts.operators.schedules import schedule_of
from inference_rollouts.operators.traffic import Promote, Rollback, ShiftWeight
from inference_rollouts.operators.warm_up import WarmUp
from inference_rollouts.triggers.lingering import lingers

PREPARATION = {
    "provision_nodes": ProvisionNodes,
    "deploy_pool": DeployPool,
    "load_adapter": LoadAdapter,
    "warm_up": WarmUp,
}
START = datetime(2026, 1, 1)
ENDINGS: dict[str, Callable[..., BaseOperator]] = {
    "end_preview": EndPreview,
    "report": partial(Report, **LAST_WORDS),
}


def build_dag(plan: Plan) -> DAG:
    """The DAG of one plan. It has as many steps as the plan; a run with fewer weights skips the rest."""
    with _without_tasks(plan) as dag:
        preflight = Preflight(
            task_id=PREFLIGHT, plan=plan.model_dump(mode="json"), inlets=heard(plan), **telling(plan)
        )
        promote = Promote(
            task_id="promote",
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            outlets=[ended(plan.name)],
        )
        _end(preflight, promote, plan.name, endings(plan))

        prepared: BaseOperator = preflight
        for name in preparation(plan):
            prepared = prepared >> PREPARATION[name](task_id=name)
        passing = [prepared]
        for step in range(1, len(plan.all_steps) + 1):
            passing = _step(plan, step, passing)
            passing >> promote
            passing >> dag.task_dict["rollback"]
    dag.params = ParamsDict(parameters(form_of(plan)))
    return dag


def check_dag(plan: Plan) -> None:
    """Raises what Airflow raises for the plan's DAG.

    Its tasks are left out: nothing that a valid plan says keeps them from being made.
    """
    _without_tasks(plan).params = ParamsDict(parameters(form_of(plan)))


def _without_tasks(plan: Plan) -> DAG:
    schedule = schedule_of(plan)
    return DAG(
        dag_id=plan.dag_id,
        description=_description(plan),
        doc_md=_doc(plan),
        schedule=None if plan.airflow_pool else schedule,  # with a pool, another DAG starts it
        start_date=START,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # a plan in git is a decision: a schedule runs by itself
        default_args=RETRIES | BEGUN_FIRST,
        tags=["inference-rollout", plan.kind.value],
        render_template_as_native_obj=True,
        auto_register=False,  # the DAG file names its DAGs: one that was begun and failed is none
        deadline=_linger(plan),
    )


def _linger(plan: Plan) -> DeadlineAlert | None:
    """What Airflow calls when a run takes too long; nothing where nobody wants to hear of it."""
    if not any(Occasion.LINGERS in notification.of for notification in plan.notifications):
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=lingers_after(plan)),
        callback=AsyncCallback(lingers, kwargs={"plan": plan.model_dump(mode="json")}),
    )


def build_invalid_dag(refused: Refused) -> DAG:
    """What stands for a plan that is refused: it names the mistake and fails when triggered.

    The first and the last tasks have the ids that they have in every rollout: a run that was in flight when
    its plan became invalid goes back through them.
    """
    with DAG(
        dag_id=refused.dag_id,
        description=refused.mistake,
        doc_md=f"**This plan is not valid.** {refused.mistake}",
        schedule=None,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        default_args=RETRIES | BEGUN_FIRST,
        tags=["inference-rollout", "invalid-plan"],
        auto_register=False,
    ) as dag:
        preflight = InvalidPlan(task_id=PREFLIGHT, mistake=refused.mistake)
        _end(preflight, preflight, refused.plan, list(ENDINGS))
    return dag


def _end(preflight: Any, last: Any, plan: str, last_tasks: Sequence[str]) -> None:
    """The tasks that run however a rollout ended, after its `last`.

    They are teardowns, so that a run which is marked as failed has them too; and those run only where a setup
    succeeded. So there is one that always does: they end, and explain, also what preflight refused.
    """
    begin = EmptyOperator(task_id="begin")
    begin >> preflight
    rollback = Rollback(task_id="rollback", outlets=[ended(plan)], **ROLLBACK_RETRIES, **BEFORE_ALL)
    outlets = {"report": [well(plan)]}
    teardowns = [
        rollback,
        *(ENDINGS[name](task_id=name, outlets=outlets.get(name, [])) for name in last_tasks),
    ]
    chain(last, *teardowns)
    for teardown in teardowns:
        teardown.as_teardown(setups=[begin, preflight], on_failure_fail_dagrun=True)


def _step(plan: Plan, step: int, previous: Sequence[BaseOperator]) -> list[BaseOperator]:
    """shift -> judge, as one group in the UI; a plan that can ask does so then. Returns what has to pass."""
    with TaskGroup(f"step_{step}", group_display_name=f"step {step}: {plan.all_steps[step - 1]} by plan"):
        # A question that is not asked is skipped.
        rule = TriggerRule.ALL_SUCCESS if step == 1 else TriggerRule.NONE_FAILED
        shift = ShiftWeight(task_id="shift", step=step, trigger_rule=rule, **telling(plan))
        judge = Judge(task_id="judge", step=step, **telling(plan))
        previous >> shift >> judge
        if not plan.can_ask:
            return [judge]
        ask = Ask(task_id="ask", judge=judge.task_id, **telling(plan))
        judge >> ask
    return [judge, ask]


def parameters(form: Form) -> dict[str, Param]:
    """The trigger form, for Airflow."""
    return {
        name: Param(field.default, title=field.title, description=field.description, **field.schema)
        for name, field in form.items()
    }


def _description(plan: Plan) -> str:
    """Airflow shows a cron without its time zone."""
    what = plan.description or f"Moves traffic from {plan.stable} to {plan.canary}, step by step."
    return f"{what} ({plan.schedule})" if plan.schedule else what


def _doc(plan: Plan) -> str:
    steps = ", ".join(f"{step} for {format_duration(step.bake)}" for step in plan.all_steps)
    sets = " and ".join(f"`{name}`" for name in plan.metrics)
    return (
        f"{plan.description}\n\n"
        f"Moves traffic in namespace `{plan.namespace}` from `{plan.stable}` to `{plan.canary}`: {steps}. "
        f"Each step is judged on the metrics of {sets}; an alarm, a failed task or a run marked as "
        f"failed puts everything back exactly as it was found.{_times(plan)}"
    )


def _times(plan: Plan) -> str:
    """When it runs, and moves, by itself: a list in Markdown."""
    lines = [f"Starts at `{plan.schedule}`"] if plan.schedule else []
    lines += [f"Starts by itself only after `{name}` of the same night" for name in plan.after]
    lines += (
        [f"Keeps a slot of pool `{plan.airflow_pool}`, by DAG `{plan.start_dag_id}`"]
        if plan.airflow_pool
        else []
    )
    lines += [f"Raises weights only in the window {window}" for window in plan.windows]
    lines += [f"Raises none from {blackout}" for blackout in plan.blackouts]
    lines += [f"Raises none on the days of the calendar `{name}`" for name in plan.calendars]
    return "\n".join(["\n", *(f"- {line}" for line in lines)]) if lines else ""
