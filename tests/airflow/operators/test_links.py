"""Buttons on the pages of tasks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from inference_rollouts.dag import build_dag
from inference_rollouts.operators.links import GraphLink, RecordLink, ReportLink, StatusLink
from tests.support.plans import llm_plan
from tests.support.steps import Step

PAGE = "/dags/rollout_llm/runs/r1/tasks"


@pytest.fixture
def ti() -> Any:
    frozen = Step().run.frozen.to_json()
    return SimpleNamespace(
        dag_id="rollout_llm", run_id="r1", task_id="step_1.judge", xcom_pull=lambda task_ids: frozen
    )


def test_a_step_leads_to_its_status_its_graph_and_its_record(
    ti: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_PROMETHEUS_DEFAULT", '{"conn_type": "prometheus", "host": "p", "port": 9090}'
    )
    step = SimpleNamespace(step=1)
    assert StatusLink().get_link(step, ti_key=ti).endswith(f"{PAGE}/step_1.judge/xcom")
    assert RecordLink().get_link(step, ti_key=ti).endswith(f"{PAGE}/step_1.judge/xcom")
    assert ReportLink().get_link(step, ti_key=ti).endswith(f"{PAGE}/report/xcom")
    assert GraphLink().get_link(step, ti_key=ti).startswith("http://p:9090/graph?g0.tab=0&g0.range_input=")


def test_a_record_that_has_a_web_page_is_led_to() -> None:
    frozen = Step(storage="https://files/records").run.frozen
    ti = SimpleNamespace(xcom_pull=lambda task_ids: frozen.to_json())
    link = RecordLink().get_link(SimpleNamespace(step=2), ti_key=ti)
    assert link == f"{frozen.storage_folder}/step_2.jsonl"


def test_airflow_keeps_them_with_the_dag() -> None:
    dag = DagSerialization.from_dict(DagSerialization.to_dict(build_dag(llm_plan())))
    links = {task: set(dag.get_task(task).extra_links) for task in ("step_1.judge", "rollback", "report")}
    assert links["step_1.judge"] == {"Status", "Prometheus graph", "Decision record"}
    assert links["rollback"] == {"Status", "Report"}
    assert links["report"] == {"Report"}
