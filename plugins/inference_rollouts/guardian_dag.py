"""Plans -> the DAG that watches their rollouts where nobody else does; paused until somebody wants it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from airflow.sdk import DAG

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.operators.assets import ended
from inference_rollouts.operators.base import BEFORE_ALL, RETRIES
from inference_rollouts.operators.guard import Guard

DAG_ID = "guardian_of_rollouts"


def build_guardian_dag(plans: Sequence[Plan]) -> DAG:
    """One run after the other, each with one task that waits in the triggerer."""
    with DAG(
        dag_id=DAG_ID,
        description="Watches rollouts that nobody else watches, ends those that nobody drives.",
        doc_md=(
            "The command `inference-rollouts guardian`, for those who run nothing beside Airflow. "
            "It cannot help while Airflow itself is down: run the command outside of it for that."
        ),
        schedule="@continuous",
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
        default_args=RETRIES | BEFORE_ALL,
        tags=["inference-rollout", "guardian"],
    ) as dag:
        names = [plan.name for plan in plans]
        told = {plan.name: [each.model_dump(mode="json") for each in plan.notifications] for plan in plans}
        Guard(
            task_id="guard",
            places=_places(plans),
            plans=names,
            notifications={name: several for name, several in told.items() if several},
            outlets=list(map(ended, names)),
        )
    return dag


def _places(plans: Sequence[Plan]) -> list[dict[str, str]]:
    """Each cluster and namespace of the plans once; of several metrics stores the first."""
    places: dict[tuple[str, str], dict[str, str]] = {}
    for plan in plans:
        connections = plan.connections
        place = {"kubernetes": connections.kubernetes, "prometheus": connections.prometheus}
        places.setdefault((connections.kubernetes, plan.namespace), place | {"namespace": plan.namespace})
    return list(places.values())
