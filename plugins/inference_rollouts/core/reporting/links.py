"""Addresses of pages about a rollout, in Airflow's web page and in that of the metrics store."""

from __future__ import annotations

import string

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.metrics import MetricSet, Rate
from inference_rollouts.core.judging.promql import label_name, quoted, quoted_words, split_selector

GRAPH_WINDOW = "1m"  # over which the graph's rates are taken: at least two scrapes even of a slow store


def run_page(base: str, dag: str, run: str) -> str:
    """The page of a run; `base` is where people reach Airflow."""
    return f"{base.rstrip('/')}/dags/{_quoted(dag)}/runs/{_quoted(run)}"


def xcom_page(base: str, dag: str, run: str, task: str) -> str:
    """The page of what a task of a run left as XCom."""
    return f"{run_page(base, dag, run)}/tasks/{_quoted(task)}/xcom"


def answer_page(run: str, task: str) -> str:
    """Where people answer the question that a task of a run asks; `run` is the run's page, empty for none."""
    return f"{run}/tasks/{_quoted(task)}/required_actions" if run else ""


def graph_page(base: str, promql: str, seconds: int) -> str:
    """The page of Prometheus that shows an expression over the last `seconds`."""
    return f"{base.rstrip('/')}/graph?g0.tab=0&g0.range_input={seconds}s&g0.expr={_quoted(promql)}"


def bad_shares(metric_set: MetricSet, canary: Arm, stable: Arm) -> str:
    """The PromQL of both arms' shares of failed requests, by the arm's label."""
    errors = metric_set[metric_set.errors]
    assert isinstance(errors, Rate)  # parse_metric_set: the error metric is a rate
    canary, stable = metric_set.arm_of(canary), metric_set.arm_of(stable)
    home = "".join(f", {label_name(name)}={quoted(value)}" for name, value in canary.home)
    arms = f"{label_name(canary.label)}=~{quoted_words(canary.value, stable.value)}{home}"
    bad, total = (_rates(selectors, arms, canary.label) for selectors in (errors.bad, errors.total))
    return f"({bad}) / ({total})"


def _rates(selectors: tuple[str, ...], arms: str, label: str) -> str:
    """Of several spellings of one series those that a store has."""
    parts = []
    for selector in selectors:
        name, matchers = split_selector(selector)
        parts.append(f"rate({name}{{{', '.join(filter(None, (matchers, arms)))}}}[{GRAPH_WINDOW}])")
    return f"sum by ({label}) ({' or '.join(parts)})"


def _quoted(text: str) -> str:
    """A part of an address (RFC 3986): all but its unreserved characters as %XX."""
    plain = string.ascii_letters + string.digits + "-._~"
    return "".join(c if c in plain else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)
