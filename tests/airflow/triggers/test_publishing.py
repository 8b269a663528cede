"""What a trigger publishes of where its rollout is."""

from __future__ import annotations

import asyncio
import itertools
import time
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time.xcom import XCom

from inference_rollouts.core.limits import STATUS_BUDGET, STATUS_EVERY
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.reporting.status import Status, status_of
from inference_rollouts.triggers import publishing, ready
from inference_rollouts.triggers.judge import JudgeTrigger
from inference_rollouts.triggers.publishing import Line, Publisher
from inference_rollouts.triggers.ready import ReadyTrigger
from tests.support.airflow import use
from tests.support.steps import Step
from tests.support.stopwatch import ends_within

TASK = SimpleNamespace(dag_id="rollout_llm", task_id="step_1.judge", run_id="r1")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = []

    async def aset(key: str, value: dict[str, Any], **where: Any) -> None:
        assert (key, where) == ("status", {**vars(TASK), "map_index": -1})
        values.append(value)

    monkeypatch.setattr(XCom, "aset", aset)
    return values


@pytest.fixture
def status() -> Status:
    return status_of(Step().run.traffic.claims())


def test_news_are_published_at_once_and_time_alone_seldom(
    status: Status, published: list[dict[str, Any]]
) -> None:
    clock = [0.0]
    task: Any = SimpleNamespace(task_instance=TASK)
    publisher = Publisher(task, lambda: clock[0], Line(lambda: clock[0]))

    def publish(at: float, status: Status | None, *news: str) -> int:
        clock[0] = at
        asyncio.run(publisher.publish(status, *news))
        return len(published)

    assert publish(0.0, None) == 0
    assert publish(0.0, status) == 1
    assert publish(1.0, status) == 1
    assert publish(2.0, status.model_copy(update={"percent": 60})) == 2
    assert publish(3.0, status.model_copy(update={"percent": 60}), "no room") == 3
    assert publish(3.0 + STATUS_EVERY, status.model_copy(update={"percent": 60}), "no room") == 4


def test_what_brings_no_news_waits_while_the_line_of_the_process_is_busy(
    status: Status, published: list[dict[str, Any]]
) -> None:
    clock, task = [0.0], SimpleNamespace(task_instance=TASK)
    line = Line(lambda: clock[0])
    publishers = [Publisher(task, lambda: clock[0], line) for _ in range(100)]  # type: ignore[arg-type]

    def publish(at: float, status: Status) -> int:
        clock[0], before = at, len(published)
        for publisher in publishers:
            asyncio.run(publisher.publish(status))
        return len(published) - before

    assert publish(0.0, status) == 100
    busy = 100 / STATUS_BUDGET
    assert publish(busy - 0.01, status) == 0
    assert sum(publish(busy + STATUS_EVERY + tick / 100, status) for tick in range(100)) <= STATUS_BUDGET + 1
    assert publish(100.0, status.model_copy(update={"percent": 60})) == 100


def test_an_airflow_that_does_not_answer_holds_nothing_up(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: Any, **__: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(XCom, "aset", hangs)
    monkeypatch.setattr(publishing, "PUBLISH_PATIENCE", 0.01)
    with ends_within(30):
        asyncio.run(Publisher(SimpleNamespace(task_instance=TASK)).publish(status))  # type: ignore[arg-type]


def first_event(trigger: Any) -> Any:
    async def run() -> Any:
        return await anext(trigger.run())

    return asyncio.run(asyncio.wait_for(run(), 60)).payload


def test_the_judge_publishes_each_step_of_its_way(
    published: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step(analysis={"margin": None})
    use(step.run.clients, monkeypatch)
    ticks = itertools.count()
    step.cluster.clock = lambda: step.since + next(ticks) / 20
    trigger = JudgeTrigger(frozen=step.run.frozen.to_json(), step=1, since=step.since)
    trigger._task_instance = TASK
    assert first_event(trigger)["judgement"]
    assert published
    assert published[0]["headline"].startswith("50 % (step 1 of 2) - ba")
    assert "watched by triggerer" in published[0]["headline"]


def test_who_waits_says_for_what(published: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(upto=0)
    use(step.run.clients, monkeypatch)
    answers = iter([Readiness(Phase.WAITING, "2 of 3 pods are ready"), Readiness(Phase.READY, "all are")])
    monkeypatch.setattr(ready, "check_now", lambda *_: next(answers))
    trigger = ReadyTrigger(
        frozen=step.run.frozen.to_json(), check="workloads", deadline=time.time() + 60, poll=0.01
    )
    trigger._task_instance = TASK
    assert first_event(trigger)["phase"] == "ready"
    assert [each["headline"] for each in published] == ["0 % (before step 1 of 2) - 2 of 3 pods are ready"]


def test_it_is_given_to_airflow_s_own_metrics(status: Status, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, float, dict[str, str]]] = []
    gauge = "inference_rollouts.triggers.publishing.stats.gauge"
    monkeypatch.setattr(gauge, lambda name, value, tags: given.append((name, value, tags)))
    publisher = Publisher(SimpleNamespace(task_instance=TASK), frozen=Step().run.frozen)  # type: ignore[arg-type]
    asyncio.run(publisher.publish(status))
    common = {"plan": "llm", "namespace": "default"}
    assert ("inference_rollout_weight_ratio", 0.5, common | {"kind": "asked"}) in given
    phase = common | {"kind": "base-model", "phase": "progressing"}
    assert ("inference_rollout_phase", 1.0, phase) in given
