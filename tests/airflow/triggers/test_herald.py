"""What triggers tell: a question once, again, and again louder; a pause; a run that lingers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from inference_rollouts.core.judging.judgement import Judgement
from inference_rollouts.core.reporting.told import Mark
from inference_rollouts.triggers import guard, herald
from inference_rollouts.triggers.guard import GuardTrigger
from inference_rollouts.triggers.herald import Herald
from inference_rollouts.triggers.lingering import lingers
from inference_rollouts.triggers.marks import XComMarks
from tests.support.airflow import event_of, use
from tests.support.plans import llm
from tests.support.receiver import FakeReceiver, receiving
from tests.support.steps import Step
from tests.support.stopwatch import ends_within

WEBHOOK = {"by": "webhook", "connection": "hooks"}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReceiver]:
    with receiving() as made:
        monkeypatch.setenv("AIRFLOW_CONN_HOOKS", json.dumps({"conn_type": "cloudevents", "host": made.url}))
        yield made


@pytest.fixture(autouse=True)
def marks(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str, str], Mark]:
    """What Airflow keeps, for all triggerers."""
    kept: dict[tuple[str, str, str], Mark] = {}

    class Marks:
        def __init__(self, dag_id: str, run_id: str) -> None:
            self.run = dag_id, run_id

        def get(self, name: str) -> Mark | None:
            return kept.get((*self.run, name))

        def set(self, name: str, mark: Mark) -> None:
            kept[*self.run, name] = mark

    for module in (herald, guard):
        monkeypatch.setattr(module, "XComMarks", Marks)
    return kept


def told_all() -> None:
    for thread in threading.enumerate():
        if thread.name in ("herald", "awaited"):
            thread.join(30)


def asked(remind: str, **plan: Any) -> tuple[Any, Judgement]:
    approvals = {"steps": [100], "remind": remind}
    step = Step(approvals=approvals, notifications=[WEBHOOK], analysis={"margin": None}, **plan)
    return step.run.frozen, Judgement.from_json(step.judged()["judgement"])


def ask(frozen: Any, judgement: Judgement, now: float, seconds: float = 0.5, late: float = 0.0) -> None:
    async def asking() -> None:
        task = asyncio.create_task(Herald(frozen, lambda: now).ask(judgement, judgement.time + late))
        await asyncio.wait([task], timeout=seconds)
        task.cancel()

    asyncio.run(asking())
    told_all()


def test_a_question_is_told_at_once_then_again_then_louder(receiver: FakeReceiver) -> None:
    frozen, judgement = asked("1h")
    ask(frozen, judgement, judgement.time)
    assert receiver.occasions == ["asked"]
    ask(frozen, judgement, judgement.time + 3600)
    assert receiver.occasions == ["asked", "reminded"], "another triggerer went on where the first ended"
    ask(frozen, judgement, judgement.time + 7200)
    ask(frozen, judgement, judgement.time + 9000)
    assert receiver.occasions == ["asked", "reminded", "escalated"]
    assert len({event["id"] for event in receiver.events}) == 3


def test_nobody_is_reminded_of_a_question_that_has_just_come_however_late_it_does(
    receiver: FakeReceiver,
) -> None:
    frozen, judgement = asked("1h")
    ask(frozen, judgement, judgement.time + 9000, late=9000)
    assert receiver.occasions == ["asked"]


def test_nobody_who_is_asked_nothing_is_told_of_a_question(receiver: FakeReceiver) -> None:
    step = Step(notifications=[WEBHOOK], analysis={"margin": None})
    ask(step.run.frozen, Judgement.from_json(step.judged()["judgement"]), 0.0)
    assert receiver.occasions == []


def test_a_pause_is_told_once_a_step(receiver: FakeReceiver) -> None:
    frozen = Step(notifications=[WEBHOOK]).run.frozen
    for _ in range(2):
        teller = Herald(frozen)
        teller.paused(1, "paused by Anna")
        teller.paused(1, "paused by Anna")
        told_all()
    assert [event["data"]["reason"] for event in receiver.events] == ["paused by Anna"]


def test_a_hanging_receiver_holds_no_trigger(receiver: FakeReceiver) -> None:
    receiver.hangs = True
    with ends_within(5):  # it is told beside the trigger
        Herald(Step(notifications=[WEBHOOK]).run.frozen).paused(1, "why")
    assert receiver.came.wait(30)
    receiver.let_go.set()
    told_all()


@pytest.mark.parametrize(
    ("state", "told"), [("running", ["lingers"]), ("queued", ["lingers"]), ("failed", [])]
)
def test_a_run_lingers_only_while_it_is_one(receiver: FakeReceiver, state: str, told: list[str]) -> None:
    run: dict[str, Any] = {
        "dag_id": "rollout_llm",
        "dag_run_id": "r 1",
        "state": state,
        "queued_at": "2026-01-01T00:00:00Z",
    }
    run["conf"] = {"canary": "v7"}
    plan = llm(notifications=[WEBHOOK])
    asyncio.run(lingers(plan, context={"dag_run": run, "deadline": {}}))
    assert receiver.occasions == told
    if told:
        assert receiver.events[0]["data"]["link"].endswith("/dags/rollout_llm/runs/r%201")
        assert "llm-pool -> v7" in receiver.events[0]["data"]["headline"]


def test_the_guardian_of_airflow_tells_of_what_it_ended(
    receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step()
    step.run.traffic.way_back.retreat("an alarm")
    step.cluster.clock = lambda: time.time() + 3600
    use(step.run.clients, monkeypatch)
    place = {"kubernetes": "kubernetes_default", "prometheus": "prometheus_default", "namespace": "default"}
    trigger = GuardTrigger(places=[place], deadline=time.time() + 60, notifications={"llm": [WEBHOOK]})
    assert len(event_of(trigger)["ended"]) == 1
    told_all()
    assert receiver.occasions == ["rolled-back"]


def test_a_mark_that_cannot_be_kept_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise ConnectionError("refused")

    for verb in ("get_one", "set"):
        monkeypatch.setattr(f"inference_rollouts.triggers.marks.XCom.{verb}", down)
    kept = XComMarks("dag", "run")
    kept.set("told.alarm.1.0", Mark(at=1.0))
    assert kept.get("told.alarm.1.0") is None
