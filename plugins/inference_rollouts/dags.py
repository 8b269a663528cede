"""Plan files -> Airflow's DAGs: a mistake in one plan, of whatever kind, concerns that plan alone."""

from __future__ import annotations

from airflow.sdk import DAG

from inference_rollouts.clients.include import load_plans
from inference_rollouts.core.plan.files import accept
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.dag import build_dag, build_invalid_dag
from inference_rollouts.retire_dag import build_retire_dag


def all_dags() -> list[DAG]:
    """Two DAGs of each plan; of one that is refused a DAG that says so and does nothing else.

    Raising here would take away the DAGs of all other plans, and with them the rollbacks of their runs.
    """
    plans, refused = accept(load_plans())
    invalid = [build_invalid_dag(each.dag_id, each.mistake) for each in refused]
    return [dag for plan in plans for dag in _built(plan)] + invalid


def _built(plan: Plan) -> list[DAG]:
    try:
        return [build_dag(plan), build_retire_dag(plan)]
    except Exception as error:
        words = " ".join(str(error).split())
        return [build_invalid_dag(plan.dag_id, f"{plan.name}.yaml: Airflow does not take it: {words}")]
