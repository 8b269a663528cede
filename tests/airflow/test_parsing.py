"""What parsing costs, counted and not timed: which plans are read, which DAGs are built, what is imported."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Param
from airflow.serialization.serialized_objects import DagSerialization

from inference_rollouts import dag as rollout_dag
from inference_rollouts import retire_dag
from inference_rollouts.clients import include
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.dags import all_dags, require_valid_plans
from tests.support.include import named_plans
from tests.support.plans import ROOT

WANTED = "_AIRFLOW_PARSING_CONTEXT_DAG_ID"  # how Airflow says which DAG it wants
NAMES = ("one", "two", "three", "four", "five")
INVALID = {"canary": "llm-pool"}
NEVER = {"schedule": {"cron": "0 0 30 2 *"}}


class Count:
    """What is done from now on: plans validated, tasks made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plans: list[str] = []
        self.tasks: list[str] = []
        add = DAG.add_task

        def counted(value: Any) -> Any:
            self.plans.append(value["name"])
            return parse_plan(value)

        def added(dag: DAG, task: Any) -> None:
            self.tasks.append(task.task_id)
            add(dag, task)

        include._plan_of.cache_clear()
        monkeypatch.setattr(include, "parse_plan", counted)
        monkeypatch.setattr(DAG, "add_task", added)


Plans = Callable[..., Path]


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plans:
    """Makes plans: those of NAMES, and some with changes."""
    return lambda **changes: named_plans(tmp_path, monkeypatch, **{name: {} for name in NAMES} | changes)


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[DAG]]:
    """What the start of a task of a DAG finds in the DAG file."""

    def find(dag_id: str) -> list[DAG]:
        with monkeypatch.context() as task:
            task.setenv(WANTED, dag_id)
            return all_dags()

    return find


def stored(dag: DAG) -> Any:
    return json.loads(json.dumps(DagSerialization.to_dict(dag)))


@pytest.mark.parametrize(("dag_id", "first"), [("rollout_three", "preflight"), ("retire_three", "leftovers")])
def test_a_task_s_start_reads_its_plan_and_builds_its_dag_alone(
    plans: Plans, starting: Any, monkeypatch: pytest.MonkeyPatch, dag_id: str, first: str
) -> None:
    plans()
    whole = {dag.dag_id: dag for dag in all_dags()}
    count = Count(monkeypatch)
    [dag] = starting(dag_id)
    assert stored(dag) == stored(whole[dag_id])
    assert count.plans == ["three"]
    assert count.tasks[0] == first
    assert len(count.tasks) == len(dag.tasks)


def test_without_a_task_that_starts_all_is_read_and_built(plans: Plans) -> None:
    plans()
    assert {dag.dag_id for dag in all_dags()} == {
        f"{verb}_{n}" for verb in ("rollout", "retire") for n in NAMES
    }


@pytest.mark.parametrize("dag_id", ["rollout_a_b", "invalid_a_b", "rollout_never", "rollout_wrong"])
def test_a_task_s_start_sees_the_mistakes_that_concern_its_dag(
    plans: Plans, starting: Any, dag_id: str
) -> None:
    folder = plans(a_b={}, never=NEVER, wrong=INVALID)
    (folder / "a_b.yaml").write_text("{")
    whole = {dag.dag_id: stored(dag) for dag in all_dags()}
    assert {dag.dag_id: stored(dag) for dag in starting(dag_id)}[dag_id] == whole[dag_id]


def test_of_a_plan_that_is_gone_a_task_s_start_finds_nothing(plans: Plans, starting: Any) -> None:
    plans()
    assert starting("rollout_six") == []


def test_no_garbage_is_looked_for_while_dags_are_made_nor_among_them_later(plans: Plans) -> None:
    plans()
    collections: list[str] = []

    def collected(phase: str, info: dict[str, int]) -> None:
        collections.append(phase)

    often = gc.get_threshold()
    gc.set_threshold(10)
    try:
        gc.callbacks.append(collected)
        dags = all_dags()
        gc.callbacks.remove(collected)
    finally:
        gc.set_threshold(*often)
    assert gc.isenabled()
    assert len(collections) < 10, "at every tenth object"
    assert not any(seen is dags[0] for seen in gc.get_objects())


def test_an_unchanged_plan_is_validated_once_and_a_changed_one_again(
    plans: Plans, monkeypatch: pytest.MonkeyPatch, database: None
) -> None:
    folder = plans()
    count = Count(monkeypatch)
    DagBag(str(ROOT / "dags"))
    all_dags()
    assert sorted(count.plans) == sorted(NAMES)
    (folder / "two.yaml").write_text((folder / "two.yaml").read_text() + "description: new\n")
    described = {dag.dag_id: dag.description for dag in all_dags()}
    assert count.plans[len(NAMES) :] == ["two"]
    assert described["rollout_two"] == "new"


def test_mistakes_are_found_without_making_a_task(plans: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plans(never=NEVER, hour={"schedule": {"cron": "99 99 * * *"}}, wrong=INVALID)
    (folder / "no-yaml.yaml").write_text("{")
    (folder / "other-name.yaml").write_text((folder / "one.yaml").read_text())
    mistakes = [dag.description for dag in all_dags() if "invalid-plan" in dag.tags]
    assert len(mistakes) == 5
    count = Count(monkeypatch)
    with pytest.raises(PlanInvalid) as shown:
        require_valid_plans()
    assert str(shown.value).splitlines() == mistakes
    assert count.tasks == []


def test_defaults_that_their_own_form_refuses_are_a_mistake_of_a_plan_with_a_schedule(
    plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans(scheduled={"schedule": {"cron": "0 2 * * *", "timezone": "UTC"}})
    monkeypatch.setattr(rollout_dag, "parameters", lambda form: {"bake": Param("soon", type="integer")})
    with pytest.raises(PlanInvalid) as shown:
        require_valid_plans()
    [refused] = [dag for dag in all_dags() if "invalid-plan" in dag.tags]
    assert refused.dag_id == "rollout_scheduled"
    assert "is not allowed to define a Schedule" in (refused.description or "")
    assert str(shown.value) == refused.description


def test_a_dag_that_was_begun_and_failed_is_none(
    plans: Plans, monkeypatch: pytest.MonkeyPatch, database: None
) -> None:
    def fail(plan: Any) -> Any:
        raise RuntimeError(f"boom {build(plan).dag_id}")

    plans()
    build = retire_dag.build_retire_dag
    monkeypatch.setattr(retire_dag, "build_retire_dag", fail)
    bag = DagBag(str(ROOT / "dags" / "inference_rollouts.py"))
    assert set(bag.dags) == {f"rollout_{name}" for name in NAMES}
    for dag in bag.dags.values():
        assert "boom" in (dag.description or "")
        assert set(dag.task_dict) == {"begin", "preflight", "rollback", "end_preview", "report"}


def test_no_task_is_stored_with_the_form_that_its_dag_has(plans: Plans) -> None:
    plans()
    for dag in all_dags():
        whole = stored(dag)["dag"]
        assert {name for name, _ in whole["params"]} == set(dag.params)
        assert dag.params
        for task in whole["tasks"]:
            assert "params" not in task["__var"], task["__var"]["task_id"]


IMPORTS = """
import sys

import airflow.sdk.execution_time.task_runner
from airflow.dag_processing.dagbag import DagBag

before = set(sys.modules)
from inference_rollouts.dags import all_dags
[dag] = all_dags()
dag.task_dict["rollback"]
print(" ".join({name for name in set(sys.modules) - before}))
"""


def test_a_rollback_starts_without_what_only_other_tasks_need(plans: Plans) -> None:
    plans()
    environment = {WANTED: "rollout_one", "PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.splitlines()[-1].split())
    assert "inference_rollouts.operators.traffic" in imported
    others = {"kubernetes", "kubernetes_asyncio", "numpy", "scipy", "packaging", "asgiref", "aiohttp"}
    assert not others & {name.partition(".")[0] for name in imported}
    ours = {name.removeprefix("inference_rollouts.") for name in imported}
    assert not {"retire_dag", "guardian_dag", "core.judging.judge", "triggers.judge"} & ours


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metrics": "vlm"}, "There is no metric set 'vlm'; known are endpoint_picker, envoy"),
        ({"calendars": ["holidays"]}, "There is no calendar 'holidays'; known are none"),
        ({"analysis": {"tolerances": {"nothing": 0.1}}}, "has no metric 'nothing'"),
        ({"after": ["nobody"]}, "after: there is no plan 'nobody'"),
    ],
)
def test_what_a_plan_names_that_is_not_there_is_told_when_it_is_read_and_ends_nothing_in_flight(
    plans: Plans, changes: dict[str, Any], words: str
) -> None:
    """Its file is there to see; a run in flight does not need it."""
    plans(lacks=changes)
    with pytest.raises(PlanInvalid) as shown:
        require_valid_plans()
    [line] = str(shown.value).splitlines()
    assert line.startswith("lacks.yaml: ")
    assert words in line
    assert "Airflow" not in line
    assert "invalid-plan" not in {tag for dag in all_dags() for tag in dag.tags}


def test_plans_may_come_after_one_that_is_not_valid(plans: Plans) -> None:
    """Which is told of itself."""
    plans(later={"after": ["wrong"]}, wrong=INVALID)
    with pytest.raises(PlanInvalid) as shown:
        require_valid_plans()
    [line] = str(shown.value).splitlines()
    assert line.startswith("wrong.yaml: ")
