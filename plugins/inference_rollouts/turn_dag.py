"""Plan with a pool -> the DAG that starts its rollouts: as many at once as the pool has slots."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.operators.assets import heard
from inference_rollouts.operators.schedules import schedule_of
from inference_rollouts.operators.turn import StartRollout


def build_turn_dag(plan: Plan) -> DAG:
    """It has the plan's schedule. A task that ran is not tried again: that would be another rollout."""
    with DAG(
        dag_id=plan.turn_dag_id,
        description=f"Starts rollouts of {plan.name} one slot of pool {plan.pool} at a time.",
        doc_md=(
            f"Starts `{plan.dag_id}` when it is its turn: at its time, after the plans that it comes after, "
            f"and while pool `{plan.pool}` has a free slot. Let that pool count deferred tasks."
        ),
        schedule=schedule_of(plan),
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,  # a plan in git is a decision
        tags=["inference-rollout", "turn"],
        auto_register=False,
    ) as dag:
        StartRollout(
            task_id="rollout",
            plan=plan.model_dump(mode="json"),
            trigger_dag_id=plan.dag_id,
            pool=plan.pool,
            inlets=heard(plan),
        )
    return dag
