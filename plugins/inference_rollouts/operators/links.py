"""Buttons on the pages of tasks: where a step is, its graph, its decision record, the report of the run.

Airflow asks for them where the task runs, whenever it ends or begins to wait, and keeps them as XCom.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from inference_rollouts.core.reporting.links import bad_shares, graph_page, run_page, xcom_page
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.pace import until_judged
from inference_rollouts.operators.base import PREFLIGHT


def airflow_page() -> str:
    """Where people reach this Airflow."""
    return str(conf.get("api", "base_url", fallback="") or "")


def page_of_run(dag: str, run: str) -> str:
    """The page of a run of this Airflow."""
    return run_page(airflow_page(), dag, run)


class StatusLink(BaseOperatorLink):
    """What the task has left as XCom, `status` among it."""

    name = "Status"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return xcom_page(airflow_page(), ti_key.dag_id, ti_key.run_id, ti_key.task_id)


class ReportLink(BaseOperatorLink):
    """The report of the run, and its chart."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return xcom_page(airflow_page(), ti_key.dag_id, ti_key.run_id, "report")


class GraphLink(BaseOperatorLink):
    """Failed requests of both arms in Prometheus, for as long as the step may take."""

    name = "Prometheus graph"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        # Imported on use: this module is imported whenever Airflow parses the DAGs.
        from inference_rollouts.hooks.prometheus import PrometheusHook

        frozen = _frozen(ti_key)
        plan = frozen.plan
        shares = bad_shares(
            frozen.metric_set, frozen.arm_at_home(plan.canary), frozen.arm_at_home(plan.stable)
        )
        server = PrometheusHook(plan.connections.prometheus).access().url
        return graph_page(server, shares, round(until_judged(plan, operator.step)))


class RecordLink(BaseOperatorLink):
    """The step's decision record: the file in the plan's storage where that is a web page, else the XCom."""

    name = "Decision record"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        folder = _frozen(ti_key).storage_folder or ""
        if folder.startswith(("http://", "https://")):
            return f"{folder}/step_{operator.step}.jsonl"
        return xcom_page(airflow_page(), ti_key.dag_id, ti_key.run_id, ti_key.task_id)


def _frozen(ti: Any) -> Frozen:
    return Frozen.from_json(ti.xcom_pull(task_ids=PREFLIGHT) or {})
