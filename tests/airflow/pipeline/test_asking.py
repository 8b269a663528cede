"""A person is asked after the judge; the step is watched until the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.objects.k8s import K8sObject
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.include import edit
from tests.support.person import Person
from tests.support.plans import CANARY

Asking = Callable[..., object]


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    return Person(monkeypatch)


@pytest.fixture
def asking(include: Path) -> Asking:
    """Changes the plan: `approvals`, and what else is given for `analysis`."""
    return lambda approvals, **analysis: edit(include, approvals=approvals, analysis=analysis)


def questions() -> list[tuple[str, str]]:
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return [
            (q.subject, q.body or "")
            for q in session.scalars(select(HITLDetail).order_by(HITLDetail.created_at))
        ]


def test_a_yes_before_100_percent_promotes(
    rollout: Rollout, cluster: FakeCluster, person: Person, asking: Asking
) -> None:
    asking({"steps": [100]})
    person.choice = "Go on"
    run = rollout()
    assert run.state == "success"
    assert (run.states["step_1.ask"], run.states["step_2.ask"]) == ("success", "skipped")
    assert cluster.weights() == {"llm-pool": 0, CANARY: 100}
    assert 'Anna chose "Go on"' in run.note
    subject, body = questions()[-1]
    assert subject == f"{CANARY}: raise it from 50 % to 100 %, or go back to llm-pool?"
    assert "| HTTP 5xx | 0 % | 0 % |" in body
    assert 'means "Roll back"' in body


def test_a_no_rolls_back(rollout: Rollout, cluster: FakeCluster, person: Person, asking: Asking) -> None:
    asking({"steps": [100]})
    person.choice = "Roll back"
    run = rollout()
    assert run.ran("step_1.judge", "rollback")
    assert run.states["step_1.ask"] == "failed"
    assert "rolled back** by Anna." in run.note
    assert run.states["step_2.shift"] == run.states["step_2.ask"] == run.states["promote"] == "skipped"
    assert 'Anna chose "Roll back"' in run.note
    assert cluster.events[-1] == "RolledBack"


@pytest.mark.parametrize(("policy", "state"), [("rollback", "failed"), ("advance", "success")])
def test_silence_is_what_the_plan_says(
    rollout: Rollout, person: Person, asking: Asking, policy: str, state: str
) -> None:
    asking({"steps": [100], "timeout": "1ms", "on_timeout": policy})
    run = rollout()
    assert run.state == state
    assert "Nobody answered" in run.note


def test_silence_about_a_doubt_of_the_judge_never_advances(
    rollout: Rollout,
    prometheus: FakePrometheus,
    person: Person,
    asking: Asking,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking({"timeout": "1ms", "on_timeout": "advance"}, on_timeout="ask", progress_deadline="500ms")
    _dies_at_the_first_shift(prometheus, monkeypatch)
    run = rollout()
    assert run.ran("step_1.judge", "rollback")
    assert run.states["step_1.ask"] == "failed"
    assert "does not answer" in run.note


def test_a_yes_to_a_doubt_of_the_judge_goes_on(
    rollout: Rollout,
    prometheus: FakePrometheus,
    person: Person,
    asking: Asking,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking({}, on_timeout="ask", progress_deadline="500ms")
    person.choice = "Go on"
    _dies_at_the_first_shift(prometheus, monkeypatch)
    run = rollout()
    assert run.state == "success"
    assert run.ran("step_1.ask", "step_2.ask", "promote")


def _dies_at_the_first_shift(prometheus: FakePrometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, shift = prometheus.cluster, prometheus.cluster.patch

    def patch(*args: Any) -> K8sObject:
        answer = shift(*args)
        prometheus.down = cluster.weights().get(CANARY, 0) > 0
        return answer

    monkeypatch.setattr(cluster, "patch", patch)


def test_an_alarm_waits_for_nobody(
    rollout: Rollout, cluster: FakeCluster, prometheus: FakePrometheus, person: Person, asking: Asking
) -> None:
    asking({"steps": [100]})
    person.looked = lambda: prometheus.failing.update({CANARY: 0.1})
    run = rollout()
    assert run.ran("rollback")
    assert run.states["step_1.ask"] == "failed"
    assert "The canary is worse than stable: HTTP 5xx" in run.note
    assert cluster.events[-2:] == ["CanaryAlarm", "RolledBack"]
    assert run.states["step_2.shift"] == "skipped"


@pytest.mark.parametrize("task", ["step_1.ask", "step_1.judge"])
def test_an_accident_is_never_a_yes(
    rollout: Rollout, cluster: FakeCluster, person: Person, asking: Asking, task: str
) -> None:
    asking({"steps": [100]})
    person.choice = "Go on"
    run = rollout(raising=task)
    assert run.states[task] == "failed"
    assert run.ran("rollback")
    assert cluster.weights()["llm-pool"] == 1


def test_a_plan_without_questions_has_no_such_task(rollout: Rollout, include: Path) -> None:
    assert "step_1.ask" not in rollout().states
