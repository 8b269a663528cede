"""The DAG of the morning report; paused until somebody wants it."""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG, Param

from inference_rollouts.core.schedule.schedule import Schedule
from inference_rollouts.operators.base import RETRIES
from inference_rollouts.operators.digest import ReportNight
from inference_rollouts.operators.schedules import timetable_of

DAG_ID = "rollout_digest"
DEFAULT = "0 7 * * * UTC"


def build_digest_dag(schedule: str = DEFAULT) -> DAG:
    """`schedule` is a cron and its time zone, in which the report speaks. Raises ValueError for another."""
    cron, _, zone = schedule.strip().rpartition(" ")
    times = Schedule(cron=cron, timezone=zone)
    with DAG(
        dag_id=DAG_ID,
        description=f"What became of last night's rollouts, and what the next night brings ({times}).",
        doc_md="One report of all plans: the note of each run, its XComs `report` and `html`, and two files.",
        schedule=timetable_of(times),
        start_date=datetime(2026, 1, 1),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
        default_args=RETRIES,
        params={
            "hours": Param(
                24, type="number", minimum=0, title="Hours", description="How far it reaches back."
            ),
            "timezone": Param(zone, type="string", title="Time zone", description="In which it speaks."),
            "storage": Param(
                None,
                type=["null", "string"],
                title="Storage",
                description="Where digest.md and digest.html go: any URL of Airflow's object storage.",
            ),
        },
        tags=["inference-rollout", "digest"],
    ) as dag:
        ReportNight(task_id="report")
    return dag
