"""The judge in the triggerer: one event, after the reflex."""

from __future__ import annotations

import time
from typing import Any

import pytest

from inference_rollouts.core.judging.decision_record import replay
from inference_rollouts.core.judging.judgement import Verdict
from inference_rollouts.core.routing.permission import permits
from inference_rollouts.rollout.control import Control
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


@pytest.mark.parametrize("behind", [-3600.0, 3600.0])
def test_a_triggerer_whose_clock_is_wrong_judges_by_that_of_the_api_server(
    behind: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind it would wait for an hour, ahead ask for what is to come and be over its deadline."""

    def now() -> float:
        return time.time() + behind

    step = Step(now() - 1, clock=now, analysis=SLOW | {"margin": None})
    judgement = event_of(observed(step, monkeypatch))["judgement"]
    assert judgement["verdict"] == "advance"
    assert abs(judgement["time"] - now()) < 60


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


def wheel(step: Step) -> Control:
    return Control(step.cluster, step.run.frozen.targets, step.run.frozen.token)


def test_an_abort_takes_the_traffic_away_and_says_who(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(time.time() - 1, analysis=SLOW | {"progress_deadline": "60s"})
    wheel(step).give("abort", "anna", "the pager")
    event = event_of(observed(step, monkeypatch))
    assert (event["judgement"]["verdict"], event["by"]) == ("rollback", "anna")
    assert event["judgement"]["reason"].startswith("Aborted by anna: the pager. The judge had concluded: ")
    assert step.cluster.weights() == {STABLE: 1, CANARY: 0}
    assert step.cluster.events[-1] == "TrafficTakenOff"
    assert replay(event["record"]) == event["record"]


def test_a_command_to_raise_permits_it_but_no_alarm_is_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(time.time() - 1, analysis=SLOW | {"progress_deadline": "60s", "min_requests": 10**6})
    wheel(step).give("raise_now", "anna", "it is fine")
    event = event_of(observed(step, monkeypatch))
    assert (event["judgement"]["verdict"], event["by"]) == ("advance", "anna")
    [claim] = step.run.traffic.claims()
    assert permits(claim)

    bad = Step(time.time() - 1, analysis=SLOW)
    bad.prometheus.failing[CANARY] = 1.0
    wheel(bad).give("promote_now", "anna", "it is fine")
    event = event_of(observed(bad, monkeypatch))
    assert (event["judgement"]["verdict"], event["by"]) == ("rollback", "")
    assert bad.cluster.events[-1] == "CanaryAlarm"


def test_no_deadline_ends_a_step_that_is_paused_and_it_alarms_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The deadline of this step has long passed when it is looked at."""
    step = Step(time.time() - 100, analysis=SLOW | {"min_requests": 10**6})
    wheel(step).give("pause", "anna", "lunch")
    observer = step.observer()
    judgement = observer.observe(time.time())
    assert not judgement.verdict.final
    status = observer.status(judgement)
    assert status
    assert "paused by anna: lunch" in status.headline
    wheel(step).give("resume", "anna", "back")
    assert not observer.observe(time.time()).verdict.final, "it has all of its time again"
    assert observer.observe(time.time() + 2).verdict is Verdict.ROLLBACK
    wheel(step).give("pause", "anna", "lunch")
    step.cluster.scale(CANARY, 0)
    assert event_of(observed(step, monkeypatch))["judgement"]["verdict"] == "rollback"


def test_a_skipped_bake_leaves_all_else_that_the_judge_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(time.time() - 1, analysis=SLOW | {"margin": None, "progress_deadline": "60s"}, bake="1h")
    observer = step.observer()
    assert not observer.observe(time.time()).verdict.final
    wheel(step).give("skip_bake", "anna", "a hurry")
    event = event_of(observed(step, monkeypatch))
    assert (event["judgement"]["verdict"], event["by"]) == ("advance", "")
    assert replay(event["record"]) == event["record"]
