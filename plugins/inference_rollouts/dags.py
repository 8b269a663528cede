"""Plan files -> Airflow's DAGs: a mistake in one plan, of whatever kind, concerns that plan alone.

What builds DAGs is imported on use: each DAG file, and each task that starts, needs a part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import TypeVar

from airflow.sdk import DAG, get_parsing_context

from inference_rollouts import heap
from inference_rollouts.clients.include import load_plans
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.files import Refused, accept, concerns
from inference_rollouts.core.plan.plan import Plan

T = TypeVar("T")


def all_dags() -> list[DAG]:
    """The DAGs of each plan; of one that is refused a DAG that says so, and ends what is in flight.

    Where Airflow asks for one DAG, as for each task that starts, only files that concern it are read. Raising
    here would take away the DAGs of all other plans, and with them the rollbacks of their runs.
    """
    wanted = get_parsing_context().dag_id
    with heap.nothing_is_garbage():
        files = load_plans(partial(concerns, wanted)) if wanted else load_plans()
        made, refused = _made(partial(_dags_of, wanted), files)
        return [*chain.from_iterable(made), *map(_invalid_dag, refused)]


def guardian_dag() -> DAG:
    """The DAG that watches all rollouts of the plans that are accepted."""
    from inference_rollouts.guardian_dag import build_guardian_dag

    plans, _ = accept(load_plans())
    return build_guardian_dag(plans)


def control_dag() -> DAG:
    """The DAG with which people command the rollouts of all plans that are accepted."""
    from inference_rollouts.control_dag import build_control_dag

    plans, refused = accept(load_plans())
    return build_control_dag(plans, [each.plan for each in refused])


def require_valid_plans() -> None:
    """Raises PlanInvalid with all mistakes, for a DAG file that has no DAGs to lose by it.

    What is missing of all that a plan names is one, and refuses its runs; those in flight do not need it.
    """
    from inference_rollouts.dag import check_dag
    from inference_rollouts.preflight.named import require_named

    files = load_plans()
    names = [plan.name for _, plan in files if not isinstance(plan, PlanInvalid)]

    def check(plan: Plan) -> None:
        check_dag(plan)
        require_named(plan, [*names, *(name for name, _ in files)])

    _, refused = _made(check, files)
    if refused:
        raise PlanInvalid("\n".join(each.mistake for each in refused))


def _made(
    make: Callable[[Plan], T], files: Iterable[tuple[str, Plan | PlanInvalid]]
) -> tuple[list[T], list[Refused]]:
    """What is made of the plans that Airflow takes, and what is refused, here or there."""
    plans, refused = accept(files)
    made = []
    for plan in plans:
        try:
            made.append(make(plan))
        except Exception as error:
            refused.append(_refused(plan, error))
    return made, refused


def _dags_of(wanted: str | None, plan: Plan) -> list[DAG]:
    """The DAGs of a plan; the `wanted` one alone, if one is."""
    dags = []
    if wanted in (None, plan.dag_id):
        from inference_rollouts.dag import build_dag

        dags.append(build_dag(plan))
    if wanted in (None, plan.retire_dag_id):
        from inference_rollouts.retire_dag import build_retire_dag

        dags.append(build_retire_dag(plan))
    if plan.airflow_pool and wanted in (None, plan.start_dag_id):
        from inference_rollouts.start_dag import build_start_dag

        dags.append(build_start_dag(plan))
    return dags


def _invalid_dag(refused: Refused) -> DAG:
    from inference_rollouts.dag import build_invalid_dag

    return build_invalid_dag(refused)


def _refused(plan: Plan, error: Exception) -> Refused:
    words = " ".join(str(error).split())
    said = words if isinstance(error, PlanInvalid) else f"Airflow does not take it: {words}"
    return Refused(plan.dag_id, f"{plan.name}.yaml: {said}", plan.name)
