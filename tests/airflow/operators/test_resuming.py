"""An event that arrives while its run is cleared says nothing of the run's next try."""

from __future__ import annotations

import time
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from inference_rollouts.core.errors import NotReady, RolloutError
from inference_rollouts.dag import build_dag
from inference_rollouts.operators.ask import Ask
from inference_rollouts.operators.judge import Judge
from inference_rollouts.operators.traffic import ShiftWeight
from inference_rollouts.triggers.judge import JudgeTrigger
from inference_rollouts.triggers.ready import ReadyTrigger
from inference_rollouts.triggers.room import RoomTrigger
from tests.support.airflow import Told, context_of, event_of, use
from tests.support.plans import CANARY, STABLE, llm_plan
from tests.support.steps import Step

DAG = build_dag(llm_plan())
OLD = {"token": "of-an-earlier-try"}


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """The next try of a run, at its first step."""
    step = Step()
    use(step.run.clients, monkeypatch)
    return step


def told(step: Step, **more: Any) -> Told:
    shifted = {"since": step.since, "percent": 50, "mirror": 0}
    preflight = {"return_value": step.run.frozen.to_json()}
    return Told(preflight=preflight, **{"step_1.shift": {"return_value": shifted}}, **more)


@pytest.mark.parametrize("event", [{"error": "claimed by another try"}, {"judgement": {}, "record": []}])
def test_the_judge_of_the_next_try_judges_itself(step: Step, event: dict[str, Any]) -> None:
    judge = Judge(task_id="step_1.judge", step=1)
    with pytest.raises(TaskDeferred) as deferred:
        judge.decided(context_of(told(step), DAG), event | OLD)
    assert isinstance(deferred.value.trigger, JudgeTrigger)
    assert deferred.value.trigger.frozen["token"] == step.run.frozen.token


def test_the_question_of_the_next_try_is_its_own(step: Step) -> None:
    judged = {"step_1.judge": {"return_value": step.judged()["judgement"]}}
    ask = Ask(task_id="step_1.ask", judge="step_1.judge")
    with pytest.raises(AirflowSkipException, match="Nobody needs to be asked"):
        ask.decided(context_of(told(step, **judged), DAG), {"error": "claimed by another try"} | OLD)


def test_a_raise_of_the_next_try_looks_for_room_itself(step: Step) -> None:
    shift = ShiftWeight(task_id="step_1.shift", step=1)
    event = {"phase": "failed", "message": "no room"} | OLD
    assert shift.decided(context_of(told(step), DAG), event)["percent"] == 50
    assert step.cluster.weights() == {STABLE: 50, CANARY: 50}


def test_an_event_of_this_try_counts(step: Step) -> None:
    judge = Judge(task_id="step_1.judge", step=1)
    context = context_of(told(step), DAG)
    for event in ({"error": "lost"}, {"error": "lost", "token": step.run.frozen.token}):
        with pytest.raises(RolloutError, match="lost"):
            judge.decided(context, event)


def test_a_shift_that_a_person_marked_as_done_has_nothing_to_judge(step: Step) -> None:
    """It ends at once: an error of ours would be tried again, while nobody judges what the canary has."""
    context = context_of(Told(preflight={"return_value": step.run.frozen.to_json()}), DAG)
    with pytest.raises(NotReady, match=r"step_1\.shift has moved nothing"):
        Judge(task_id="step_1.judge", step=1).execute(context)


def test_events_say_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(time.time() - 1, analysis={"interval": "250ms", "margin": None})
    use(step.run.clients, monkeypatch)
    frozen, judgement = step.run.frozen.to_json(), step.judged()["judgement"]
    step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1  # somebody else's
    ready: dict[str, Any] = {"frozen": frozen, "check": "workloads", "deadline": 0.0, "poll": 0.05}
    for trigger in (
        JudgeTrigger(frozen=frozen, step=1, since=step.since),
        ReadyTrigger(**ready),
        RoomTrigger(judgement=judgement, **ready | {"check": "capacity:2", "deadline": time.time() + 60}),
    ):
        assert event_of(trigger)["token"] == step.run.frozen.token
