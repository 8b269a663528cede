"""Plan -> the DAG that takes away what its rollouts left behind."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, Param, task_group

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.values import MODEL_NAME
from inference_rollouts.operators.assets import promoted, rolled_back
from inference_rollouts.operators.base import RETRIES
from inference_rollouts.operators.retire import (
    ApproveRetirement,
    CheckRetirement,
    Leftovers,
    Retire,
    WaitIdle,
)


def build_retire_dag(plan: Plan) -> DAG:
    """Runs after promotions and rollbacks as the plan's `retention` says, and when a person asks."""
    frozen = plan.model_dump(mode="json")
    assets = _triggers(plan)
    with DAG(
        dag_id=plan.retire_dag_id,
        description=f"Takes away what rollouts of {plan.name} left behind, once nothing runs there.",
        doc_md=_doc(plan),
        schedule=assets[0] | assets[1] if len(assets) > 1 else assets or None,
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=256,  # each waits as long as something is kept; who retires by hand waits for none
        is_paused_upon_creation=False,  # a plan in git is a decision
        default_args=RETRIES,
        tags=["inference-rollout", "retirement"],
        render_template_as_native_obj=True,
        auto_register=False,
    ) as dag:

        @task_group(group_id="retirement")
        def retirement(case: Any) -> None:
            check = CheckRetirement(
                task_id="check", plan=frozen, case=case, inlets=[promoted(plan.name), rolled_back(plan.name)]
            )
            chain = check >> WaitIdle(task_id="wait_idle", retirement=check.output)
            if plan.approvals.retire:
                chain = chain >> ApproveRetirement(
                    task_id="approve",
                    retirement=check.output,
                    response_timeout=timedelta(seconds=plan.approvals.timeout),
                )
            chain >> Retire(task_id="retire", retirement=check.output)

        retirement.expand(case=Leftovers(task_id="leftovers", plan=frozen).output)
    dag.params.update(parameters(plan))  # last: each task would copy what is there when it is made
    return dag


def parameters(plan: Plan) -> dict[str, Param]:
    """The trigger form: what a person wants retired."""
    subject = plan.subject
    return {
        subject: Param(
            None,
            type=["null", "string"],
            maxLength=253,
            pattern=MODEL_NAME,
            title=subject.capitalize(),
            description="What serves nobody any more.",
        ),
        "action": Param(
            Action.REMOVE.value,
            type="string",
            enum=[action.value for action in Action],
            title="Action",
            description="scale-down keeps all objects for inspection. An adapter is unloaded either way.",
        ),
    }


def _triggers(plan: Plan) -> list[Asset]:
    """The events after which something is to be taken away without a person."""
    outcomes = {Action.REMOVE: promoted(plan.name), Action.SCALE_DOWN: rolled_back(plan.name)}
    return [asset for action, asset in outcomes.items() if plan.retention.kept(action) is not None]


def _doc(plan: Plan) -> str:
    retention = plan.retention
    keep, after = retention.keep, retention.keep_rolled_back
    old = "until a person starts this DAG" if keep is None else f"{format_duration(keep)} after a promotion"
    new = "until a person does" if after is None else f"{format_duration(after)} after a rollback"
    return (
        f"Takes away what rollouts of `{plan.name}` left behind: what served before is kept {old}; a "
        f"rolled-back canary keeps running {new}. Nothing goes while any route gives it traffic, or before "
        f"it has been quiet for {format_duration(retention.longest_stream)}; nothing that a rollout did not "
        "create is ever deleted."
    )
