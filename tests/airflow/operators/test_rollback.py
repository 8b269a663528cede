"""The rollback task waits for what may pass, puts back what is claimed, completes what was decided."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import OutletEventAccessors

from inference_rollouts.core.errors import ClusterUnavailable, Forbidden
from inference_rollouts.core.routing.claim import Ending
from inference_rollouts.dag import build_dag
from inference_rollouts.operators.traffic import Rollback
from inference_rollouts.rollout.retrying import without_end
from tests.support.airflow import Told, context_of, use
from tests.support.plans import STABLE, llm_plan
from tests.support.steps import Step

DAG = build_dag(llm_plan())


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """A rollout at 50 % that nobody waits for."""
    step = Step()
    use(step.run.clients, monkeypatch)
    at_once = partial(without_end, sleep=lambda _: None)
    monkeypatch.setattr("inference_rollouts.operators.traffic.without_end", at_once)
    return step


def rollback(step: Step) -> str:
    told = Told(preflight={"return_value": step.run.frozen.to_json()})
    task = Rollback(task_id="rollback")
    return str(task.execute(context_of(told, DAG, outlet_events=OutletEventAccessors())))


@pytest.mark.parametrize("status", [0, 401, 403, 404, 409, 410, 429, 500, 503])
@pytest.mark.parametrize("verb", ["get", "patch", "select"])
def test_whatever_the_api_says_for_a_while_all_goes_back(
    step: Step, monkeypatch: pytest.MonkeyPatch, verb: str, status: int
) -> None:
    act, left = getattr(step.cluster, verb), [status] * 7

    def refusing(*args: Any) -> Any:
        if left:
            error = Forbidden if status == 403 else ClusterUnavailable
            raise error("GET", "/apis/x", left.pop(), "not now")
        return act(*args)

    monkeypatch.setattr(step.cluster, verb, refusing)
    assert rollback(step) == "done"
    assert step.cluster.weights() == {STABLE: 1}
    assert step.cluster.ending() is Ending.RESTORED
    assert not left


def test_it_may_be_cleared_at_any_time(step: Step) -> None:
    assert [rollback(step), rollback(step)] == ["done", "done"]


def test_where_nothing_is_claimed_it_skips_itself(step: Step) -> None:
    step.cluster.route["metadata"]["annotations"].clear()
    with pytest.raises(AirflowSkipException, match="claims nothing"):
        rollback(step)
