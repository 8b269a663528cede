"""The shape of the DAG that a plan becomes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pendulum
import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, CronTriggerTimetable
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import TaskDeferralTimeout
from airflow.serialization.serialized_objects import DagSerialization

from inference_rollouts import control_dag, guardian_dag
from inference_rollouts.clients.include import load_plan, plan_files
from inference_rollouts.core.errors import PlanInvalid, RouteDrift, StableUnavailable
from inference_rollouts.dag import build_dag
from inference_rollouts.dags import all_dags
from inference_rollouts.digest_dag import DAG_ID as DIGEST
from inference_rollouts.retire_dag import build_retire_dag
from tests.support.calendars import NIGHTS, blackout
from tests.support.plans import ROOT, llm, llm_plan

OF_ALL = {control_dag.DAG_ID, guardian_dag.DAG_ID, DIGEST}  # of all plans together
CRONS = {  # the schedules of plans that are otherwise valid
    "no-hour": "99 99 * * *",
    "no-word": "@nightly",
    "never": "0 0 30 2 *",
}


def dag_of(**changes: Any) -> DAG:
    return build_dag(llm_plan(**changes))


@pytest.fixture(scope="module")
def dag() -> DAG:
    return dag_of()


def test_the_chain_reads_like_the_plan(dag: DAG) -> None:
    tasks = cast(Any, dag).topological_sort()
    order = [task.task_id for task in tasks if not task.is_teardown]
    steps = [f"step_{n}.{part}" for n in range(1, 5) for part in ("shift", "judge", "ask")]
    assert order == ["begin", "preflight", "provision_nodes", "deploy_pool", "warm_up", *steps, "promote"]


def test_each_step_leads_to_the_next_to_promotion_and_to_the_rollback(dag: DAG) -> None:
    for step in range(1, 5):
        for task in (f"step_{step}.judge", f"step_{step}.ask"):
            assert {"promote", "rollback"} <= dag.task_dict[task].downstream_task_ids
    assert {"step_1.judge", "step_1.ask"} == dag.task_dict["step_2.shift"].upstream_task_ids
    assert dag.task_dict["promote"].downstream_task_ids == {"rollback"}
    assert dag.task_dict["rollback"].downstream_task_ids == {"report"}


def weights(dag: DAG) -> dict[str, int]:
    """By which of many tasks the scheduler takes the next."""
    read = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    tasks = [(task, SimpleNamespace(task=task)) for task in read.task_dict.values()]
    return {task.task_id: task.weight_rule.get_weight(cast(Any, ti)) for task, ti in tasks}


def test_where_slots_are_scarce_the_way_back_waits_for_none_and_what_has_begun_for_no_beginning(
    dag: DAG,
) -> None:
    """Two hundred plans may start at one time."""
    weighs = weights(dag)
    steps = [weighs[f"step_{n}.{task}"] for n in range(1, 5) for task in ("shift", "judge", "ask")]
    order = [weighs["begin"], weighs["preflight"], weighs["warm_up"], *steps, weighs["promote"]]
    assert order == sorted(order)
    before_all = weighs.pop("rollback")
    assert max(order) < before_all < weighs["report"]
    for built in (control_dag.build_control_dag([llm_plan()]), guardian_dag.build_guardian_dag([llm_plan()])):
        assert set(weights(built).values()) == {before_all}


def test_no_command_waits_for_another() -> None:
    """Sixteen at once, as of other DAGs, are soon taken by undos, which are watched for minutes."""
    assert control_dag.build_control_dag([llm_plan()]).max_active_runs >= 1000


def test_rollback_and_report_are_teardowns_so_that_a_failed_run_still_restores(dag: DAG) -> None:
    assert dag.task_dict["preflight"].is_setup
    assert dag.task_dict["begin"].is_setup
    for task in ("rollback", "report"):
        assert {"begin", "preflight"} <= dag.task_dict[task].upstream_task_ids
        assert dag.task_dict[task].is_teardown
        assert dag.task_dict[task].on_failure_fail_dagrun
        assert dag.task_dict[task].trigger_rule == "all_done_setup_success"


def test_a_question_that_is_not_asked_holds_up_nothing_and_a_dead_judge_everything(dag: DAG) -> None:
    assert dag.task_dict["step_2.shift"].trigger_rule == "none_failed"
    assert dag.task_dict["step_1.shift"].trigger_rule == "all_success"
    assert dag.task_dict["promote"].trigger_rule == "none_failed_min_one_success"


def test_every_task_may_be_retried_and_rollback_insists(dag: DAG) -> None:
    assert min(task.retries or 0 for task in dag.tasks) >= 1
    assert (dag.task_dict["rollback"].retries or 0) >= 30


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (RouteDrift("others wrote"), RetryAction.FAIL),
        (TaskDeferralTimeout("the trigger took too long"), RetryAction.FAIL),
        (StableUnavailable("no pods"), RetryAction.DEFAULT),
        (ConnectionError("refused"), RetryAction.DEFAULT),
    ],
)
def test_decisions_and_times_that_are_over_fail_at_once_and_accidents_are_tried_again(
    dag: DAG, error: Exception, action: RetryAction
) -> None:
    for task in dag.tasks:
        assert task.retry_policy
        assert task.retry_policy.evaluate(error, 1, 2).action is action, task.task_id


def test_one_run_at_a_time_and_none_by_itself_without_a_schedule(dag: DAG) -> None:
    assert dag.max_active_runs == 1
    assert dag.timetable.can_be_scheduled is False
    assert dag.catchup is False


def test_a_schedule_runs_by_itself_in_its_time_zone() -> None:
    dag = dag_of(schedule={"cron": "0 2 * * 1-5", "timezone": "Europe/Berlin"})
    assert isinstance(dag.timetable, CronTriggerTimetable)
    assert dag.timetable.expression == "0 2 * * 1-5"
    assert str(dag.timetable.timezone) == "Europe/Berlin"
    assert dag.is_paused_upon_creation is False
    assert dag.description
    assert "(0 2 * * 1-5 Europe/Berlin)" in dag.description
    assert "- Starts at `0 2 * * 1-5 Europe/Berlin`" in (dag.doc_md or "")


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("cron", ["30 2 * * *", "0 2 * * *", "15 1 * * *", "0 22 * * *"])
def test_on_days_on_which_clocks_jump_it_runs_once(cron: str, day: str) -> None:
    from airflow.timetables.base import DataInterval, TimeRestriction
    from airflow.timetables.trigger import CronTriggerTimetable as Timetable

    timetable, runs = Timetable(cron, timezone="Europe/Berlin"), list[str]()
    moment = pendulum.from_format(day, "YYYY-MM-DD", tz="Europe/Berlin").subtract(days=1).in_timezone("UTC")
    while len(runs) < 4:
        info = timetable.next_dagrun_info(
            last_automated_data_interval=DataInterval.exact(moment),
            restriction=TimeRestriction(None, None, catchup=True),
        )
        assert info
        moment = info.run_after
        runs.append(moment.in_timezone("Europe/Berlin").to_date_string())
    assert runs.count(day) == 1
    assert len(set(runs)) == len(runs)


def test_windows_and_blackouts_are_described_and_may_be_overridden_with_a_reason() -> None:
    dag = dag_of(windows=[NIGHTS], blackouts=[blackout("2026-12-24", "2026-12-26")], calendars=["holidays"])
    for line in (
        "- Raises weights only in the window 22:00-06:00 Europe/Berlin (mon-sun)",
        "- Raises none from 2026-12-24 to 2026-12-26 Europe/Berlin",
        "- Raises none on the days of the calendar `holidays`",
    ):
        assert line in (dag.doc_md or "")
    assert dag.params["override_windows"] is None


def test_the_form_offers_what_a_run_may_change(dag: DAG) -> None:
    hardware = {"accelerator", "machine_type"}
    assert set(dag.params) == {"stable", "canary", "image", "model", *hardware, "weights", "bake", "dry_run"}
    assert dag.params["accelerator"] == "nvidia-h100-80gb"
    assert dag.params["weights"] == [5, 25, 50, 100]
    assert dag.params["canary"] == "llm-pool-version-2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", [0]),
        ("weights", []),
        ("weights", [0.5] * 9),
        ("canary", "A b"),
        ("image", ""),
        ("bake", "soon"),
    ],
)
def test_the_form_takes_what_preflight_refuses_in_words(dag: DAG, name: str, value: Any) -> None:
    """Of what the form refuses, Airflow makes no run, and says nothing but "Bad Request"."""
    assert dag.params.get_param(name).resolve(value) == value


def test_every_plan_is_a_dag_and_a_broken_plan_breaks_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: None
) -> None:
    plan = llm()
    folder = tmp_path / "rollouts"
    folder.mkdir()
    (folder / "chat.yaml").write_text(yaml.safe_dump(plan | {"name": "chat"}))
    (folder / "same-pool.yaml").write_text(yaml.safe_dump(plan | {"name": "x", "canary": "llm-pool"}))
    (folder / "not-yaml.yaml").write_text("{")
    for name, cron in CRONS.items():
        scheduled = plan | {"name": name, "schedule": {"cron": cron, "timezone": "UTC"}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(scheduled))
    (folder / f"{'long' * 61}.yaml").write_text("{")
    (folder / "other-name.yaml").write_text(yaml.safe_dump(plan | {"name": "chat"}))
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(tmp_path))
    bag = DagBag(str(ROOT / "dags"))
    assert {Path(dag.fileloc).name for dag in bag.dags.values() if dag.dag_id not in OF_ALL} == {
        "inference_rollouts.py"
    }
    [(file, error)] = bag.import_errors.items()
    assert file.endswith("rollout_mistakes.py")
    assert "same-pool.yaml: " in error
    assert "no-hour.yaml: Airflow does not take it" in error
    rollouts = {f"rollout_{name}" for name in ("chat", "same_pool", "not_yaml", "other_name")}
    crons = {f"rollout_{name.replace('-', '_')}" for name in CRONS}
    assert {dag for dag in bag.dags if "long" not in dag} == {*rollouts, *crons, "retire_chat", *OF_ALL}
    for name in crons:
        assert "Airflow does not take it" in (bag.dags[name].description or "")
    assert "must be named" in (bag.dags["rollout_other_name"].description or "")
    control: Any = bag.dags[control_dag.DAG_ID].task_dict["control"]
    assert "same-pool" in control.invalid
    assert "chat" not in control.invalid
    broken: Any = bag.dags["rollout_same_pool"].task_dict["preflight"]
    with pytest.raises(PlanInvalid, match=r"same-pool.yaml: .*are both 'llm-pool'.*Nothing"):
        type(broken).execute.__wrapped__(broken, {})


def test_every_plan_of_the_project_becomes_dags_that_airflow_can_store() -> None:
    """Runs in other tests skip this check."""
    for path in plan_files():
        plan = load_plan(path)
        for dag in (build_dag(plan), build_retire_dag(plan)):
            DagSerialization.to_dict(dag)


def test_a_file_of_any_name_gets_a_dag_that_airflow_can_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rollouts"
    folder.mkdir()
    for name in (b"caf\xc3\xa9.yaml", b"bad\xff.yaml", b"a b\nc.yaml"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_text("{")
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(tmp_path))
    dags = all_dags()
    assert [dag.dag_id for dag in dags] == ["rollout_a_b_nc", "rollout_bad_udcff", "rollout_caf_"]
    for dag in dags:
        assert json.dumps(DagSerialization.to_dict(dag), ensure_ascii=False).encode()
        assert "\n" not in (dag.description or "")


def test_without_mistakes_there_is_no_import_error(database: None) -> None:
    bag = DagBag(str(ROOT / "dags"))
    assert not bag.import_errors
    assert set(bag.dags) >= OF_ALL
