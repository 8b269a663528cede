"""Plan -> DAG: the whole pipeline on one screen."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, TaskGroup, TriggerRule, chain

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan, dag_id_of
from inference_rollouts.operators.adapter import LoadAdapter, WarmUpAdapter
from inference_rollouts.operators.ask import Ask
from inference_rollouts.operators.assets import promoted, rolled_back
from inference_rollouts.operators.base import PREFLIGHT, RETRIES, ROLLBACK_RETRIES
from inference_rollouts.operators.deploy_pool import DeployPool
from inference_rollouts.operators.gate import Gate
from inference_rollouts.operators.judge import Judge
from inference_rollouts.operators.preflight import InvalidPlan, Preflight
from inference_rollouts.operators.preview import EndPreview
from inference_rollouts.operators.ready import ProvisionNodes
from inference_rollouts.operators.report import Report
from inference_rollouts.operators.traffic import Promote, Rollback, ShiftWeight
from inference_rollouts.operators.warm_up import WarmUp


def build_dag(plan: Plan) -> DAG:
    """The DAG of one plan. It has as many steps as the plan; a run with fewer weights skips the rest."""
    schedule = plan.schedule
    with DAG(
        dag_id=plan.dag_id,
        description=plan.description or f"Moves traffic from {plan.stable} to {plan.canary}, step by step.",
        doc_md=_doc(plan),
        schedule=CronTriggerTimetable(schedule.cron, timezone=schedule.timezone) if schedule else None,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # a plan in git is a decision: a schedule runs by itself
        default_args=RETRIES,
        params=parameters(plan),
        tags=["inference-rollout", plan.kind.value],
        render_template_as_native_obj=True,
    ) as dag:
        preflight = Preflight(task_id=PREFLIGHT, plan=plan.model_dump(mode="json")).as_setup()
        promote = Promote(
            task_id="promote",
            trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
            outlets=[promoted(plan.name)],
        )
        rollback = Rollback(task_id="rollback", outlets=[rolled_back(plan.name)], **ROLLBACK_RETRIES)
        report = Report(task_id="report")

        previous = _preparation(plan, preflight)
        for step in range(1, len(plan.rungs) + 1):
            previous = _step(plan, step, previous)
            previous >> [promote, rollback]
        previewed = isinstance(plan, PoolPlan) and plan.preview
        ends = [rollback, *([EndPreview(task_id="end_preview")] if previewed else []), report]
        chain(promote, *ends)
        for teardown in ends:
            teardown.as_teardown(setups=preflight, on_failure_fail_dagrun=True)
    return dag


def build_invalid_dag(name: str, mistake: str) -> DAG:
    """What stands for a plan that is not valid: it names the mistake and fails when triggered."""
    with DAG(
        dag_id=dag_id_of(name),
        description=mistake,
        doc_md=f"**This plan is not valid.** {mistake}",
        schedule=None,
        tags=["inference-rollout", "invalid-plan"],
    ) as dag:
        InvalidPlan(task_id="plan_is_invalid", mistake=mistake)
    return dag


def _preparation(plan: Plan, preflight: Any) -> Any:
    """What brings the canary up and makes it warm, before any weight leaves 0; returns its last task."""
    if isinstance(plan, AdapterPlan):
        return preflight >> LoadAdapter(task_id="load_adapter") >> WarmUpAdapter(task_id="warm_up")
    deployed = preflight >> ProvisionNodes(task_id="provision_nodes") >> DeployPool(task_id="deploy_pool")
    return deployed >> WarmUp(task_id="warm_up")


def _step(plan: Plan, step: int, previous: Any) -> Gate:
    """shift -> judge -> gate, as one group in the UI; a plan that can ask does so before the gate."""
    tasks = ("shift", "judge", *(["ask"] if plan.can_ask else []), "gate")
    later = [f"step_{n}.{task}" for n in range(step + 1, len(plan.rungs) + 1) for task in tasks]
    with TaskGroup(f"step_{step}", group_display_name=f"step {step}: {plan.rungs[step - 1]} by plan"):
        judged = previous >> ShiftWeight(task_id="shift", step=step) >> Judge(task_id="judge", step=step)
        if plan.can_ask:
            judged = judged >> Ask(task_id="ask", judge=judged.task_id)
        gate = Gate(
            task_id="gate",
            step=step,
            judge=judged.task_id,
            later=later,
            promote="promote",
            trigger_rule=TriggerRule.ALL_DONE,
        )
        judged >> gate
    return gate


def parameters(plan: Plan) -> dict[str, Param]:
    """The trigger form: what one run may change of its plan."""
    name: dict[str, Any] = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$"}
    text: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": r"^\S+$"}
    weights = [step.weight for step in plan.steps]
    bakes = ", ".join(format_duration(step.bake) for step in plan.steps)
    if isinstance(plan, AdapterPlan):
        what = {
            "stable": Param(plan.stable, **text, title="Stable adapter", description="What serves today."),
            "canary": Param(plan.canary, **text, title="Canary adapter", description="The new one's name."),
            "path": Param(plan.path, **text, title="Path", description="Where the servers find the adapter."),
        }
    else:
        work = plan.workload
        what = {
            "stable": Param(plan.stable, **name, title="Stable pool", description="What serves today."),
            "canary": Param(plan.canary, **name, title="Canary pool", description="The new pool's name."),
            "image": Param(work.image, **text, title="Image", description="The new pool's server image."),
            "model": Param(work.model, **text, title="Model", description="What the new servers load."),
            "accelerator": Param(
                plan.nodes.accelerator,
                **text | {"type": ["null", "string"]},
                title="Accelerator",
                description="What the new pool's nodes have, such as nvidia-l4.",
            ),
            "machine_type": Param(
                None,
                **text | {"type": ["null", "string"]},
                title="Machine type",
                description="Of the new nodes. Empty: as planned, or any that has another accelerator.",
            ),
        }
    return what | {
        "weights": Param(
            weights,
            type="array",
            items={"type": "integer", "minimum": 1, "maximum": 100},
            minItems=1,
            maxItems=len(weights),
            title="Weights (%)",
            description=f"The canary's share, step by step, rising to 100. At most {len(weights)} steps.",
        ),
        "bake": Param(
            None,
            type=["null", "string"],
            pattern=r"^(\d+(\.\d+)?(ms|s|m|h))+$",
            title="Bake time",
            description=f"How long each step must look good, such as 90s or 5m. Empty: as planned ({bakes}).",
        ),
    }


def _doc(plan: Plan) -> str:
    steps = ", ".join(f"{rung} for {format_duration(rung.bake)}" for rung in plan.rungs)
    return (
        f"{plan.description}\n\n"
        f"Moves traffic in namespace `{plan.namespace}` from `{plan.stable}` to `{plan.canary}`: {steps}. "
        f"Each step is judged on the metric set `{plan.metrics}`; an alarm, a failed task or a run marked as "
        "failed puts everything back exactly as it was found."
    )
