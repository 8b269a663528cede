"""Waiting in the triggerer until nothing has run for the longest stream."""

from __future__ import annotations

import time

import pytest

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.retirement.idle import Observation
from inference_rollouts.core.retirement.retirement import RetiredObject
from inference_rollouts.triggers.idle import IdleTrigger, observe
from tests.support.airflow import again, event_of, use
from tests.support.fake_cluster import FakeCluster
from tests.support.left_behind import LONGEST, NEW, OLD, Stage
from tests.support.plans import llm_plan
from tests.support.routes import ref, route

QUICK = {
    "retention": {"keep": 0, "longest_stream": LONGEST},
    "analysis": {"interval": "50ms", "scrape_delay": 0},
}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    use(stage.clients, monkeypatch)
    return stage


def test_it_survives_serialization(stage: Stage) -> None:
    retirement = stage.found().to_json()
    trigger = again(IdleTrigger(retirement=retirement, deadline=5.0))
    assert (trigger.retirement, trigger.deadline) == (retirement, 5.0)


@pytest.mark.parametrize("noise", ["inside", "answered", "prometheus", "weight"])
def test_every_sign_of_a_request_starts_the_wait_anew(
    stage: Stage, noise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second observation, so that silence has begun before and cannot have lasted long enough."""
    retirement = stage.found(llm_plan(**QUICK))
    activity, routes, disturbed = stage.activity, stage.cluster.select_everywhere, list[float]()

    def disturb() -> None:
        if not disturbed:
            disturbed.append(time.time())

    def with_weight(api: str, kind: str) -> list[K8sObject]:
        if kind == "HTTPRoute" and activity.observations == 1 and not disturbed:
            disturb()
            return [route([ref(OLD, 1), ref(NEW, 99)])]
        return routes(api, kind)

    if noise == "weight":
        monkeypatch.setattr(stage.cluster, "select_everywhere", with_weight)
    else:
        activity.asked = lambda observation: disturb() if observation == 2 else None
    if noise == "inside":
        activity.inside = lambda observation: float(observation == 2)
    if noise == "prometheus":
        activity.inside = lambda observation: None if observation == 2 else 0.0
    if noise == "answered":
        activity.answered = lambda observation: 7.0 + (observation >= 2)
    event = event_of(IdleTrigger(retirement=retirement.to_json(), deadline=time.time() + 600))
    assert time.time() - disturbed[0] >= LONGEST
    assert "since" in event
    assert stage.subject(retirement).reconcile().phase is Phase.READY
    assert stage.cluster.left() == []


def test_who_never_becomes_quiet_is_told_at_the_deadline(stage: Stage) -> None:
    stage.activity.inside = lambda observation: None
    retirement = stage.found(llm_plan(**QUICK)).to_json()
    event = event_of(IdleTrigger(retirement=retirement, deadline=time.time()))
    assert "is still in use and stays as it is" in event["error"]


def test_a_cluster_that_does_not_answer_is_no_sign_of_quiet() -> None:
    class Broken:
        def find(self) -> tuple[RetiredObject, ...]:
            raise AssertionError

        def observe(self, seconds: float, since: float | None = None) -> Observation:
            raise ConnectionError("refused")

        def reconcile(self) -> Readiness:
            raise AssertionError

    assert "refused" in observe(Broken(), FakeCluster(), 5).busy


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_how_long_it_is_quiet_is_counted_by_the_clock_that_all_have_in_common(
    stage: Stage, ahead: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours, until the API server has said what time it is: no hour passes when it does."""
    heard, asked = list[bool](), stage.cluster.select_everywhere

    def routes(api: str, kind: str) -> list[K8sObject]:
        heard.append(True)
        return asked(api, kind)

    monkeypatch.setattr(stage.cluster, "select_everywhere", routes)
    retirement = stage.found(llm_plan(**QUICK)).to_json()
    heard.clear()
    stage.cluster.clock = lambda: time.time() + (ahead if heard else 0.0)
    now = time.time()
    event = event_of(IdleTrigger(retirement=retirement, deadline=now + ahead + 60))
    assert event["since"] == pytest.approx(now + ahead, abs=50)
    assert time.time() - now >= LONGEST
