"""Addresses of pages about a rollout."""

from __future__ import annotations

from inference_rollouts.core.judging.arms import ArmTemplate
from inference_rollouts.core.reporting.links import bad_shares, graph_page, run_page, xcom_page
from tests.support.judging import CANARY, SET, STABLE


def test_names_are_quoted() -> None:
    run = "manual__2026-01-01T00:00:00+00:00"
    page = "http://airflow/dags/rollout_llm/runs/manual__2026-01-01T00%3A00%3A00%2B00%3A00"
    assert run_page("http://airflow/", "rollout_llm", run) == page
    assert (
        xcom_page("http://airflow", "rollout_llm", run, "step_1.judge") == f"{page}/tasks/step_1.judge/xcom"
    )
    assert run_page("", "é", "r") == "/dags/%C3%A9/runs/r"


def test_a_graph_shows_the_failed_requests_of_both_arms() -> None:
    promql = bad_shares(SET, CANARY, STABLE)
    assert promql == (
        '(sum by (inference_pool) (rate(requests_total{code=~"5..", inference_pool=~"new|old"}[1m]))) / '
        '(sum by (inference_pool) (rate(requests_total{handler="/v1", inference_pool=~"new|old"}[1m])))'
    )
    own = SET.model_copy(update={"arm": ArmTemplate(label="app", value="{pool}-*")})
    assert 'app=~"new-[A-Za-z0-9]+|old-[A-Za-z0-9]+"' in bad_shares(own, CANARY, STABLE)
    page = graph_page("http://prometheus:9090/", promql, 600)
    assert page.startswith("http://prometheus:9090/graph?g0.tab=0&g0.range_input=600s&g0.expr=%28sum%20by")
