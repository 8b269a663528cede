"""The judge in the triggerer: one event, after the reflex."""

from __future__ import annotations

import time
from typing import Any

import pytest

from inference_rollouts.core.judging.decision_record import replay
from inference_rollouts.triggers.judge import JudgeTrigger
from tests.support.airflow import event_of, use
from tests.support.plans import CANARY, STABLE
from tests.support.steps import Step

SLOW = {"interval": "250ms"}


def observed(step: Step, monkeypatch: pytest.MonkeyPatch) -> JudgeTrigger:
    use(step.run.clients, monkeypatch)
    return JudgeTrigger(frozen=step.run.frozen.to_json(), step=1, since=step.since)


def test_a_good_step_advances(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(time.time() - 1, analysis=SLOW | {"margin": None})
    event = event_of(observed(step, monkeypatch))
    assert event["judgement"]["verdict"] == "advance"
    assert event["judgement"]["canary"]["requests"] > 50
    assert replay(event["record"]) == event["record"]
    assert event["points"]


def test_an_alarm_takes_the_traffic_away_before_the_dag_hears_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Step(time.time() - 1, analysis=SLOW)
    step.prometheus.failing[CANARY] = 0.2
    event = event_of(observed(step, monkeypatch))
    assert event["judgement"]["verdict"] == "rollback"
    assert step.cluster.weights() == {STABLE: 1, CANARY: 0}
    assert step.cluster.events[-1] == "CanaryAlarm"


def test_somebody_elses_weights_end_the_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(time.time(), analysis=SLOW)
    step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    assert "was changed by" in event_of(observed(step, monkeypatch))["error"]


def test_it_observes_until_its_verdict_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its first observation the metrics store does not answer."""
    step = Step(time.time() - 1, analysis=SLOW | {"margin": None, "progress_deadline": "60s"})
    step.prometheus.down, query = True, step.prometheus.query

    def answering_later(promql: str, at: float) -> list[dict[str, Any]]:
        try:
            return query(promql, at)
        finally:
            step.prometheus.down = False

    monkeypatch.setattr(step.prometheus, "query", answering_later)
    event = event_of(observed(step, monkeypatch))
    assert event["judgement"]["verdict"] == "advance"
    assert len(event["points"]) == 2
