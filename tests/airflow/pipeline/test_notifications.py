"""People hear of a run, each transition once, whatever becomes of its tasks and of the receiver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.plan.notifications import Occasion
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.include import edit
from tests.support.person import Person
from tests.support.plans import CANARY, STABLE
from tests.support.receiver import FakeReceiver, receiving

pytestmark = pytest.mark.usefixtures("database")

# Of all but `lingers`: a DAG with a deadline ends in no `dag.test()`, which keeps none in the database.
OCCASIONS = [occasion.value for occasion in Occasion if occasion not in (Occasion.LINGERS, Occasion.DIGEST)]
WEBHOOK = {"by": "webhook", "connection": "hooks_test", "of": OCCASIONS}


@pytest.fixture
def receiver(include: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReceiver]:
    edit(include, notifications=[WEBHOOK])
    with receiving() as made:
        connection = {"conn_type": "cloudevents", "host": made.url, "password": "token"}
        monkeypatch.setenv("AIRFLOW_CONN_HOOKS_TEST", json.dumps(connection))
        yield made


def until_told(receiver: FakeReceiver, occasion: str) -> None:
    deadline = time.monotonic() + 30
    while occasion not in receiver.occasions and time.monotonic() < deadline:
        time.sleep(0.02)


def ids(receiver: FakeReceiver) -> list[Any]:
    return [event["id"] for event in receiver.events]


def test_a_promotion_is_told_step_by_step(rollout: Rollout, receiver: FakeReceiver) -> None:
    assert rollout().state == "success"
    assert receiver.occasions == ["started", "raised", "raised", "promoted"]
    assert len(set(ids(receiver))) == 4
    raised = receiver.events[2]["data"]
    assert (raised["percent"], raised["step"], raised["steps"]) == (100, 2, 2)
    assert (raised["stable"], raised["canary"]) == (STABLE, CANARY)
    assert raised["figures"]["canary_requests"] > 0
    assert "/dags/rollout_llm/runs/" in raised["link"]
    assert {headers["Authorization"] for headers in receiver.headers} == {"Bearer token"}


def test_a_rollback_is_told_once_although_two_tasks_fail(
    rollout: Rollout, receiver: FakeReceiver, prometheus: FakePrometheus
) -> None:
    prometheus.failing[CANARY] = 0.05
    run = rollout()
    assert (run.states["step_1.judge"], run.states["report"]) == ("failed", "failed")
    assert receiver.occasions == ["started", "raised", "alarm", "rolled-back"]
    [alarm, back] = receiver.events[2:]
    assert "The canary is worse" in alarm["data"]["reason"]
    assert "Now the route is exactly as it was found." in back["data"]["reason"]


def test_what_preflight_refuses_is_told(
    rollout: Rollout, receiver: FakeReceiver, cluster: FakeCluster
) -> None:
    del cluster.objects["HTTPRoute", "routes-to-llm"]
    assert rollout().state == "failed"
    assert receiver.occasions == ["refused"]


def test_drift_is_told_by_its_name(rollout: Rollout, receiver: FakeReceiver, cluster: FakeCluster) -> None:
    def others() -> None:
        cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7

    rollout(before={"step_2.shift": others})
    assert receiver.occasions == ["started", "raised", "drift", "astray"]
    assert "was changed by" in receiver.events[2]["data"]["reason"]


def test_a_question_is_told_with_the_page_that_answers(
    rollout: Rollout, receiver: FakeReceiver, include: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(include, approvals={"steps": [100]})
    person = Person(monkeypatch)
    person.choice, person.patience = "Roll back", 1
    person.looked = lambda: until_told(receiver, "asked")
    rollout()
    assert receiver.occasions == ["started", "raised", "asked", "rolled-back"]
    asked = receiver.events[2]["data"]
    assert asked["link"].endswith("/tasks/step_1.ask/required_actions")
    assert "or go back to llm-pool?" in asked["reason"]


def test_a_receiver_that_was_away_hears_all_of_it_in_order_when_it_is_back(
    rollout: Rollout, receiver: FakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_rollouts.core.reporting.told.TELLING_FORGOTTEN", 0.0)
    receiver.status = 503

    def back() -> None:
        receiver.status = 200

    assert rollout(weights=[100], before={"report": back}).state == "success"
    assert receiver.occasions == ["started", "raised", "promoted"]
