"""Who is asked has as long to answer as the plan says, however late the question comes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from inference_rollouts.dag import build_dag
from inference_rollouts.operators import ask
from inference_rollouts.triggers.ask import AskTrigger
from tests.support.airflow import Told, context_of, use
from tests.support.plans import llm_plan
from tests.support.steps import Step

DAG = build_dag(llm_plan())
LATE = 7200.0


def test_a_question_that_comes_late_is_open_as_long_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that was down for longer than an answer may take would have made it silence."""
    step = Step(time.time() - 1, approvals={"steps": [100], "timeout": "1h", "on_timeout": "advance"})
    use(step.run.clients, monkeypatch)
    shown: dict[str, Any] = {}
    monkeypatch.setattr(ask, "upsert_hitl_detail", lambda **given: shown.update(given))
    judged = step.judged()["judgement"]
    judged |= {"time": judged["time"] - LATE}
    told = Told(
        preflight={"return_value": step.run.frozen.to_json()}, **{"step_1.judge": {"return_value": judged}}
    )
    monkeypatch.setattr(told, "id", "0", raising=False)
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        ask.Ask(task_id="step_1.ask", judge="step_1.judge").execute(context_of(told, DAG))
    trigger = deferred.value.trigger
    assert isinstance(trigger, AskTrigger)
    assert trigger.timeout_datetime is not None
    assert trigger.timeout_datetime.timestamp() >= before + 3600
    assert f"No answer until {trigger.timeout_datetime:%Y-%m-%d %H:%M:%S} UTC means" in shown["body"]
