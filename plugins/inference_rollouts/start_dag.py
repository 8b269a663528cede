"""Plan with a pool -> the DAG that starts its rollouts: as many at once as the pool has slots."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.operators.assets import heard
from inference_rollouts.operators.schedules import schedule_of
from inference_rollouts.operators.start import StartRollout


def build_start_dag(plan: Plan) -> DAG:
    """It has the plan's schedule. A task that ran is not tried again: that would be another rollout."""
    with DAG(
        dag_id=plan.start_dag_id,
        description=f"Starts rollouts of {plan.name}, each with a slot of pool {plan.airflow_pool}.",
        doc_md=(
            f"Starts `{plan.dag_id}` at its time, after the plans that it comes after, and once pool "
            f"`{plan.airflow_pool}` has a free slot. Let that pool count deferred tasks."
        ),
        schedule=schedule_of(plan),
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # a plan in git is a decision
        tags=["inference-rollout", "start"],
        auto_register=False,
    ) as dag:
        StartRollout(
            task_id="rollout",
            plan=plan.model_dump(mode="json"),
            trigger_dag_id=plan.dag_id,
            pool=plan.airflow_pool,
            inlets=heard(plan),
            retries=0,
        )
    return dag
