"""Triggers survive serialization, and end with one event."""

from __future__ import annotations

import asyncio
import importlib
import time
from datetime import UTC, datetime

import pytest

from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.triggers import ready
from inference_rollouts.triggers.judge import JudgeTrigger
from inference_rollouts.triggers.ready import ReadyTrigger
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus

from .test_preflight import RUN, preflight


@pytest.fixture
def cluster(monkeypatch):
    fake = FakeCluster()
    prometheus = FakePrometheus(fake)
    monkeypatch.setattr(ready, "ClusterHook", lambda *_: fake)
    monkeypatch.setattr("inference_rollouts.rollout.step_observer.ClusterHook", lambda *_: fake)
    monkeypatch.setattr("inference_rollouts.rollout.step_observer.PrometheusHook", lambda *_: prometheus)
    fake.prometheus = prometheus
    return fake


def again(trigger):
    """The trigger as another triggerer would build it."""
    path, kwargs = trigger.serialize()
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**kwargs)


def event_of(trigger):
    async def collect():
        return [event.payload async for event in again(trigger).run()]

    events = asyncio.run(asyncio.wait_for(collect(), 20))
    assert len(events) == 1
    return events[0]


def quick(cluster, **changes):
    fast = {"interval": "50ms", "scrape_delay": 0, "progress_deadline": "1s", **changes.pop("analysis", {})}
    return preflight(
        cluster, {"weights": [50, 100], "bake": "200ms"}, initial_delay=0, analysis=fast, **changes
    )


def held(cluster, frozen, percent):
    from inference_rollouts.rollout.traffic import Traffic

    cluster.put_pool(frozen.plan.canary)
    traffic = Traffic(cluster, frozen.plan, RUN, frozen.targets)
    traffic.attach()
    return traffic.shift(percent, 1, time.time())


def judged(cluster, frozen, since):
    return event_of(JudgeTrigger(frozen=frozen.to_json(), step=1, since=since))


def test_readiness_is_told_once_it_is_there(cluster, monkeypatch):
    answers = iter(
        [Readiness(Phase.WAITING, "1 of 3"), Readiness(Phase.WAITING, "2 of 3"), Readiness(Phase.READY, "ok")]
    )
    monkeypatch.setitem(ready.CHECKS, "nodes", lambda *_: next(answers))
    frozen = preflight(cluster).to_json()
    trigger = ReadyTrigger(frozen=frozen, check="nodes", deadline=time.time() + 60, poll=0)
    assert event_of(trigger) == {"phase": "ready", "message": "ok"}


def test_a_passed_deadline_is_told_as_still_waiting(cluster, monkeypatch):
    monkeypatch.setitem(ready.CHECKS, "nodes", lambda *_: Readiness(Phase.WAITING, "1 of 3"))
    frozen = preflight(cluster).to_json()
    trigger = ReadyTrigger(frozen=frozen, check="nodes", deadline=time.time() - 1, poll=0)
    assert event_of(trigger) == {"phase": "waiting", "message": "1 of 3"}


def test_a_cluster_that_does_not_answer_is_waited_for(cluster, monkeypatch):
    calls = []

    def flaky(*_):
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("refused")
        return Readiness(Phase.READY, "ok")

    monkeypatch.setitem(ready.CHECKS, "nodes", flaky)
    trigger = ReadyTrigger(
        frozen=preflight(cluster).to_json(), check="nodes", deadline=time.time() + 60, poll=0
    )
    assert event_of(trigger)["phase"] == "ready"


def test_a_good_step_advances(cluster):
    frozen = quick(cluster, analysis={"margin": None})
    event = judged(cluster, frozen, held(cluster, frozen, 50))
    assert event["judgement"]["verdict"] == "advance"
    assert event["judgement"]["canary"]["requests"] > 50


def test_an_alarm_takes_the_traffic_away_before_the_dag_hears_of_it(cluster):
    frozen = quick(cluster)
    since = held(cluster, frozen, 50)
    cluster.prometheus.failing[frozen.plan.canary] = 0.2
    event = judged(cluster, frozen, since)
    assert event["judgement"]["verdict"] == "rollback"
    assert "HTTP 5xx" in event["judgement"]["reason"]
    assert cluster.weights() == {"llm-pool": 1, "llm-pool-version-2": 0}
    assert cluster.events[-1] == "CanaryAlarm"


def test_a_reflex_that_fails_leaves_the_rollback_to_the_dag(cluster, monkeypatch):
    frozen = quick(cluster)
    since = held(cluster, frozen, 50)
    cluster.prometheus.failing[frozen.plan.canary] = 0.2

    def unreachable(*_):
        raise ConnectionError("refused")

    monkeypatch.setattr(cluster, "patch", unreachable)
    assert judged(cluster, frozen, since)["judgement"]["verdict"] == "rollback"


def test_a_dead_prometheus_holds_and_rolls_back_only_when_patience_ends(cluster):
    frozen = quick(cluster)
    since = held(cluster, frozen, 50)
    cluster.prometheus.down = True
    event = judged(cluster, frozen, since)
    assert event["judgement"]["verdict"] == "rollback"
    assert "does not answer" in event["judgement"]["reason"]
    assert event["judgement"]["time"] - since >= 1.2


def test_weights_that_are_not_in_force_never_pass(cluster, monkeypatch):
    frozen = quick(cluster, analysis={"margin": None})
    since = held(cluster, frozen, 50)
    monkeypatch.setattr(cluster, "weights", lambda: {"llm-pool": 95, "llm-pool-version-2": 5})
    event = judged(cluster, frozen, since)
    assert event["judgement"]["verdict"] == "rollback"
    assert "not in force" in event["judgement"]["reason"]


def test_somebody_elses_weights_end_the_judging(cluster):
    frozen = quick(cluster)
    since = held(cluster, frozen, 50)
    cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    event = judged(cluster, frozen, since)
    assert "was changed by" in event["error"]


PICKER = {"name": "gone", "kind": "Service", "port": {"number": 9002}}


def test_a_canary_whose_picker_is_down_and_drops_its_requests_is_an_alarm(cluster):
    frozen = quick(cluster, analysis={"margin": None})
    since = held(cluster, frozen, 50)
    cluster.objects["InferencePool", frozen.plan.canary]["spec"]["endpointPickerRef"] = PICKER
    event = judged(cluster, frozen, since)
    assert event["judgement"]["verdict"] == "rollback"
    assert "drops all requests" in event["judgement"]["reason"]
    assert event["judgement"]["time"] - since < 0.5, "at the first look"


@pytest.mark.parametrize("pool", ["llm-pool", "llm-pool-version-2"])
def test_a_picker_that_is_down_but_lets_requests_pass_keeps_the_step_from_passing(cluster, pool):
    frozen = quick(cluster, analysis={"margin": None})
    since = held(cluster, frozen, 50)
    open_ref = {**PICKER, "failureMode": "FailOpen"}
    cluster.objects["InferencePool", pool]["spec"]["endpointPickerRef"] = open_ref
    event = judged(cluster, frozen, since)
    assert event["judgement"]["verdict"] == "rollback"
    assert f"picker gone of {pool}" in event["judgement"]["reason"]
    assert event["judgement"]["time"] - since >= 1.2, "only when progress_deadline ends"


def test_a_canary_without_ready_pods_is_an_alarm(cluster):
    frozen = quick(cluster)
    since = held(cluster, frozen, 50)
    for number in range(3):
        del cluster.objects["Pod", f"llm-pool-version-2-{number}"]
    event = judged(cluster, frozen, since)
    assert event["judgement"]["reason"] == "The canary has no ready endpoints."


@pytest.mark.parametrize(("seconds", "verdict"), [(-60, "advance"), (+60, "rollback")])
def test_restarts_are_an_alarm_only_if_they_go_on_after_the_shift(cluster, seconds, verdict):
    frozen = quick(cluster, analysis={"margin": None})
    since = held(cluster, frozen, 50)
    ended = datetime.fromtimestamp(since + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    cluster.objects["Pod", "llm-pool-version-2-0"]["status"]["containerStatuses"] = [
        {"restartCount": 3, "state": {}, "lastState": {"terminated": {"finishedAt": ended}}}
    ]
    assert judged(cluster, frozen, since)["judgement"]["verdict"] == verdict


def test_the_record_of_a_decision_can_be_judged_again(cluster, tmp_path, capsys):
    from inference_rollouts.core.judging.decision_record import replay
    from inference_rollouts.replay import main

    frozen = quick(cluster, records=f"file://{tmp_path}")
    since = held(cluster, frozen, 50)
    cluster.prometheus.failing[frozen.plan.canary] = 0.2
    event = judged(cluster, frozen, since)
    assert replay(event["record"]) == event["record"]
    [written] = tmp_path.rglob("step_1.jsonl")
    assert written.read_text().splitlines() == event["record"]
    assert main([str(written)]) == 0
    assert "the same verdicts: " in capsys.readouterr().out
    written.write_text(written.read_text().replace('"verdict":"rollback"', '"verdict":"advance"'))
    assert main([str(written)]) == 1
    written.write_text("nonsense")
    assert main([str(written)]) == 2


def test_a_place_for_records_that_cannot_be_written_stops_nothing(cluster):
    frozen = quick(cluster, records="file:///dev/null/records", analysis={"margin": None})
    assert judged(cluster, frozen, held(cluster, frozen, 50))["judgement"]["verdict"] == "advance"


def test_points_for_the_chart_are_kept_for_every_look(cluster):
    frozen = quick(cluster, analysis={"margin": None})
    event = judged(cluster, frozen, held(cluster, frozen, 50))
    times = [point[0] for point in event["points"]]
    assert times
    assert times == sorted(times)
