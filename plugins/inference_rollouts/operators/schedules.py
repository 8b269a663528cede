"""When a plan starts by itself, for Airflow: at its times, and whenever an event may have changed the answer.

Events only wake: what there is to do, and whether now, is read when the run begins.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import AssetAny, AssetOrTimeSchedule, CronTriggerTimetable

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.schedule.schedule import Schedule
from inference_rollouts.operators.assets import heard


def schedule_of(plan: Plan) -> Any:
    """What Airflow takes as a DAG's schedule; None for a plan that only people start."""
    assets = heard(plan)
    wakes = AssetAny(*assets) if len(assets) > 1 else next(iter(assets), None)
    if plan.schedule is None:
        return wakes
    timetable = timetable_of(plan.schedule)
    return AssetOrTimeSchedule(timetable=timetable, assets=wakes) if wakes else timetable


def next_start(schedule: Schedule, now: float) -> float | None:
    """When a schedule comes next after a moment (both Unix seconds)."""
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable as Parser
    from pendulum import from_timestamp

    after = TimeRestriction(earliest=from_timestamp(now), latest=None, catchup=True)
    parser = Parser(schedule.cron, timezone=schedule.timezone)
    info = parser.next_dagrun_info(last_automated_data_interval=None, restriction=after)
    return info.run_after.timestamp() if info else None


def timetable_of(schedule: Schedule) -> CronTriggerTimetable:
    """Raises ValueError for what Airflow's own parser does not take, or a time that never comes."""
    from airflow.timetables.base import TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable as Parser

    parser = Parser(schedule.cron, timezone=schedule.timezone)
    parser.validate()
    ever = TimeRestriction(earliest=None, latest=None, catchup=False)
    if parser.next_dagrun_info(last_automated_data_interval=None, restriction=ever) is None:
        raise ValueError(f"the schedule {schedule.cron} has no next time")
    return CronTriggerTimetable(schedule.cron, timezone=schedule.timezone)
