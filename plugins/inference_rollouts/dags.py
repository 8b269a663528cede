"""Plan files -> Airflow's DAGs: a mistake in one plan, of whatever kind, concerns that plan alone."""

from __future__ import annotations

from airflow.sdk import DAG

from inference_rollouts.clients.include import load_plans
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.files import Refused, accept
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.dag import build_dag, build_invalid_dag
from inference_rollouts.guardian_dag import build_guardian_dag
from inference_rollouts.retire_dag import build_retire_dag


def all_dags() -> list[DAG]:
    """Two DAGs of each plan; of one that is refused a DAG that says so, and ends what is in flight.

    Raising here would take away the DAGs of all other plans, and with them the rollbacks of their runs.
    """
    built, refused = _built(register=True)
    return [*built, *map(build_invalid_dag, refused)]


def guardian_dag() -> DAG:
    """The DAG that watches all rollouts of the plans that are accepted."""
    plans, _ = accept(load_plans())
    return build_guardian_dag(plans)


def require_valid_plans() -> None:
    """Raises PlanInvalid with all mistakes, for a DAG file that has no DAGs to lose by it."""
    _, refused = _built(register=False)
    if refused:
        raise PlanInvalid("\n".join(each.mistake for each in refused))


def _built(*, register: bool) -> tuple[list[DAG], list[Refused]]:
    """The DAGs of the plans that Airflow takes, and what is refused, here or there."""
    plans, refused = accept(load_plans())
    built: list[DAG] = []
    for plan in plans:
        try:
            built += [build_dag(plan, register=register), build_retire_dag(plan, register=register)]
        except Exception as error:
            refused.append(_refused(plan, error))
    return built, refused


def _refused(plan: Plan, error: Exception) -> Refused:
    words = " ".join(str(error).split())
    return Refused(plan.dag_id, f"{plan.name}.yaml: Airflow does not take it: {words}", plan.name)
