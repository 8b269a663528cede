"""When a rollout starts: a pool's slot, the plans before it, and the state in place of the event."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DagRunTriggerException
from airflow.sdk import DAG, Asset
from airflow.sdk.exceptions import AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization

from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.dag import build_dag
from inference_rollouts.operators.assets import ended_well
from inference_rollouts.operators.starting import NOT_NOW, not_now
from inference_rollouts.start_dag import build_start_dag
from tests.support.airflow import Told, context_of
from tests.support.plans import food_review_plan, llm_plan

NIGHTLY = {"cron": "0 22 * * *", "timezone": "Europe/Berlin", "start_within": "1h"}


class Events(list[Any]):
    """The events of one asset, the newest first."""

    def ascending(self, ascending: bool) -> Events:
        assert not ascending
        return self

    def limit(self, limit: int) -> Events:
        return Events(self[:limit])


def context(
    plan: PoolPlan,
    dues: Mapping[str, float] | None = None,
    kind: str = "asset_triggered",
    ago: timedelta = timedelta(),
) -> Any:
    """What a task sees; `dues` are when rollouts of other plans that have ended well were due."""
    events: dict[Asset, Events] = {ended_well(name): Events() for name in plan.after}
    for name, due in (dues or {}).items():
        events[ended_well(name)] = Events([SimpleNamespace(extra={"due": due})])
    run = SimpleNamespace(run_type=kind, run_after=datetime.now(UTC) - ago, dag_id="start_llm", run_id="r1")
    return context_of(Told(), build_start_dag(plan)) | {"inlet_events": events, "dag_run": run}


def pooled(**changes: Any) -> PoolPlan:
    return llm_plan(airflow_pool="rollouts", **changes)


def start(plan: PoolPlan, seen: Any) -> None:
    task: Any = build_start_dag(plan).task_dict["rollout"]
    task.execute(seen)


def test_a_plan_with_a_pool_is_started_by_a_dag_that_keeps_a_slot_of_it() -> None:
    plan = pooled(schedule=NIGHTLY)
    dag = build_start_dag(plan)
    task: Any = dag.task_dict["rollout"]
    times: Any = dag.timetable
    assert times.expression == "0 22 * * *"
    assert (task.pool, task.trigger_dag_id) == ("rollouts", "rollout_llm")
    assert task.deferrable
    assert task.wait_for_completion
    assert not task.retries, "another try would be another rollout"
    assert build_dag(plan).timetable.can_be_scheduled is False
    DagSerialization.to_dict(dag)


def test_it_starts_one_run_and_waits_for_its_end() -> None:
    plan = pooled(schedule=NIGHTLY)
    with pytest.raises(DagRunTriggerException) as started:
        start(plan, context(plan, kind="scheduled"))
    asked: Any = started.value
    assert (asked.trigger_dag_id, asked.logical_date, asked.deferrable) == ("rollout_llm", None, True)


def test_a_slot_that_comes_free_at_noon_starts_nothing() -> None:
    plan = pooled(schedule=NIGHTLY)
    seen = context(plan, kind="scheduled", ago=timedelta(hours=14))
    with pytest.raises(AirflowSkipException, match="may start at most 1h late"):
        start(plan, seen)
    assert "may start at most" in seen["ti"].pushed[NOT_NOW]


def test_it_waits_for_all_that_it_comes_after_whichever_event_woke_it() -> None:
    plan, now = pooled(after=["a", "b"]), time.time()
    with pytest.raises(AirflowSkipException, match="comes after b"):
        start(plan, context(plan, {"a": now - 60}))
    assert not_now(context(plan, {"a": now - 60, "b": now - 3600}), plan, now) == ""
    assert "comes after a and b" in not_now(context(plan, {"a": now - 86400, "b": now - 50_000}), plan, now)


def test_what_was_rolled_back_in_the_same_night_stops_it_though_a_later_run_found_nothing_new() -> None:
    plan, now = pooled(after=["a"]), time.time()
    for ago, waits in ((3600.0, True), (plan.after_within + 60, False)):
        seen = context(plan, {"a": now - 60})
        seen["inlet_events"][ended_well("a")][0].extra["rolled_back"] = now - ago
        assert bool(not_now(seen, plan, now)) is waits


def test_who_starts_it_by_hand_waits_for_nobody() -> None:
    plan = pooled(after=["a"])
    assert not_now(context(plan, kind="manual"), plan, time.time()) == ""


@pytest.mark.parametrize("pool", [None, "rollouts"])
def test_the_ends_of_the_plans_before_it_wake_it(pool: str | None) -> None:
    plan = llm_plan(after=["a", "b"], airflow_pool=pool)
    dag: DAG = build_start_dag(plan) if pool else build_dag(plan)
    woken = DagSerialization.to_dict(dag)["dag"]["timetable"]["__var"]["asset_condition"]
    assert woken["__type"] == "asset_any"
    names = {each["name"] for each in woken["objects"]}
    assert names == {"inference-rollouts/a/ended-well", "inference-rollouts/b/ended-well"}


def test_a_time_and_events_may_both_wake_it() -> None:
    dag = build_dag(llm_plan(after=["a"], schedule=NIGHTLY))
    assert type(dag.timetable).__name__ == "AssetOrTimeSchedule"
    DagSerialization.to_dict(dag)


def test_the_inference_pool_of_an_adapter_is_no_pool_of_airflow() -> None:
    plan = food_review_plan(schedule=NIGHTLY)
    assert plan.airflow_pool is None
    assert build_dag(plan).schedule is not None, "no other DAG starts it"
