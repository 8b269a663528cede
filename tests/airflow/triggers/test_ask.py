"""Waiting for a person in the triggerer, and watching the step meanwhile."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimLost
from inference_rollouts.core.judging.decision_record import replay
from inference_rollouts.core.judging.judge import Carried, Judgement
from inference_rollouts.rollout.control import Control
from inference_rollouts.triggers import watch
from inference_rollouts.triggers.ask import AskTrigger, Patience
from tests.support.airflow import again, event_of, use
from tests.support.person import Person
from tests.support.plans import CANARY, STABLE
from tests.support.steps import Step


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    return Person(monkeypatch)


LOOK = 0.02  # seconds that pass, by the common clock, from one look at it to the next


class Asked:
    """A step that was judged good just now, and what a person is asked about it.

    No time passes but by looking at the clock: how fast the machine is changes nothing.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        analysis = {"interval": "250ms", "margin": None, "progress_deadline": "100ms"}
        self.looks, self.began = count(1), time.time()
        self.step = Step(self.began - 1, self.time, analysis=analysis, approvals={"steps": [100]})
        self.judgement: dict[str, Any] = self.step.judged()["judgement"]
        assert self.judgement["verdict"] == "advance"
        use(self.step.run.clients, monkeypatch)
        self.patience = 600.0

    def time(self) -> float:
        return self.began + next(self.looks) * LOOK

    def trigger(self) -> AskTrigger:
        return AskTrigger(
            frozen=self.step.run.frozen.to_json(),
            judgement=self.judgement,
            ti_id="0",
            options=["Go on", "Roll back"],
            defaults=["Roll back"],
            params={},
            timeout_datetime=datetime.fromtimestamp(self.time() + self.patience, UTC),
            poke_interval=0.02,
        )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def test_an_answer_ends_the_watch(asked: Asked, person: Person) -> None:
    person.choice = "Go on"
    assert event_of(asked.trigger())["chosen_options"] == ["Go on"]


def test_missing_data_and_a_passed_deadline_take_nothing_back(asked: Asked, person: Person) -> None:
    asked.step.prometheus.down = True
    person.choice, person.patience = "Go on", 40
    assert event_of(asked.trigger())["chosen_options"] == ["Go on"]
    assert asked.step.cluster.weights()[CANARY] > 0


def test_an_alarm_takes_the_traffic_away_at_once(asked: Asked, person: Person) -> None:
    asked.step.prometheus.failing[CANARY] = 0.2
    event = event_of(asked.trigger())
    assert event["judgement"]["verdict"] == "rollback"
    assert asked.step.cluster.weights() == {STABLE: 1, CANARY: 0}
    assert asked.step.cluster.events[-1] == "CanaryAlarm"


def test_an_alarm_record_can_be_judged_again(asked: Asked, person: Person) -> None:
    asked.step.prometheus.failing[CANARY] = 0.2
    record = event_of(asked.trigger())["record"]
    assert replay(record) == record


def test_weak_evidence_adds_up_over_the_legs_of_a_long_watch(
    asked: Asked, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LEG", 0.6)
    asked.step.prometheus.rate, asked.step.prometheus.failing[CANARY] = 400.0, 0.03
    event = event_of(asked.trigger())
    assert event["judgement"]["verdict"] == "rollback"
    assert event["judgement"]["time"] - asked.judgement["time"] > 0.6


def test_going_back_waits_while_stable_is_gone_and_comes_with_it(asked: Asked, person: Person) -> None:
    cluster, observations = asked.step.cluster, count()
    pods = {key: cluster.objects.pop(key) for key in [("Pod", f"{STABLE}-{n}") for n in range(3)]}
    asked.step.prometheus.failing[CANARY] = 0.2

    def comes_back() -> None:
        if next(observations) == 20:
            assert cluster.weights()[CANARY] > 0
            cluster.objects.update(pods)

    person.looked = comes_back
    assert event_of(asked.trigger())["judgement"]["verdict"] == "rollback"
    assert cluster.weights()[CANARY] == 0


def test_a_route_lost_to_others_ends_the_watch(asked: Asked, person: Person) -> None:
    asked.step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    assert "was changed by" in event_of(asked.trigger())["error"]


def test_an_api_server_that_does_not_answer_stops_no_watch(asked: Asked, person: Person) -> None:
    person.choice, observations = "Go on", count()

    def flaky() -> None:
        if next(observations) < 2:
            raise ConnectionError("refused")

    person.looked = flaky
    assert event_of(asked.trigger())["chosen_options"] == ["Go on"]


def wheel(asked: Asked) -> Control:
    frozen = asked.step.run.frozen
    return Control(asked.step.cluster, frozen.targets, frozen.token)


def test_a_command_to_raise_is_an_answer_and_an_abort_is_one(asked: Asked, person: Person) -> None:
    wheel(asked).give("raise_now", "anna", "it is fine")
    event = event_of(asked.trigger())
    assert (event["chosen_options"], event["responded_by_user"]["name"]) == (["Go on"], "anna: it is fine")
    wheel(asked).give("abort", "anna", "it is not")
    assert event_of(asked.trigger())["by"] == "anna"
    assert asked.step.cluster.weights() == {STABLE: 1, CANARY: 0}


def test_silence_is_no_answer_while_it_is_paused(asked: Asked, person: Person) -> None:
    wheel(asked).give("pause", "anna", "lunch")
    asked.patience = 0.3
    person.choice, person.patience = "Go on", 20
    assert event_of(asked.trigger())["chosen_options"] == ["Go on"]


def paused_for_ten_minutes(asked: Asked) -> None:
    """Somebody did, and resumed it since."""
    cluster = asked.step.cluster
    for ago, what in ((1000.0, "pause"), (400.0, "resume")):
        cluster.clock = lambda ago=ago: asked.time() - ago  # type: ignore[misc]
        wheel(asked).give(what, "anna", "lunch")
    cluster.clock = asked.time


def test_who_goes_on_waiting_after_a_pause_knows_what_it_took(asked: Asked, person: Person) -> None:
    """A triggerer that takes over knows the question as it was put, before the pause."""
    paused_for_ten_minutes(asked)
    asked.patience = -60.0
    person.choice, person.patience = "Go on", 20
    assert event_of(asked.trigger())["chosen_options"] == ["Go on"]


def test_silence_after_a_pause_is_silence_in_the_end(asked: Asked, person: Person) -> None:
    paused_for_ten_minutes(asked)
    asked.patience = -601.0
    assert event_of(asked.trigger())["chosen_options"] == ["Roll back"]


def test_a_trigger_that_is_ended_looks_no_more(asked: Asked, person: Person) -> None:
    async def ended() -> list[asyncio.Task[Any]]:
        looked, loop = asyncio.Event(), asyncio.get_running_loop()
        person.looked = lambda: loop.call_soon_threadsafe(looked.set)
        running = asyncio.ensure_future(anext(aiter(again(asked.trigger()).run())))
        await looked.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            await asyncio.wait(left, timeout=30)
        return [task for task in left if not task.done()]

    assert asyncio.run(ended()) == []


def test_a_canary_that_was_taken_off_gets_no_weight_by_a_late_yes(asked: Asked) -> None:
    judgement = Judgement.from_json(asked.judgement)
    assert Carried.from_json(asked.judgement["carried"]).steps == judgement.step == 1
    traffic = asked.step.run.traffic
    traffic.way_back.retreat("alarm")
    with pytest.raises(ClaimLost, match="on its way back"):
        traffic.permit(1, asked.time())
    with pytest.raises(ClaimLost, match="on its way back"):
        traffic.shift(2, asked.step.run.plan.all_steps[1], asked.time())
    assert asked.step.cluster.weights() == {STABLE: 1, CANARY: 0}


def test_the_end_of_a_question_is_one_of_the_clock_that_all_have_in_common(asked: Asked) -> None:
    """Our own, an hour behind it, shows an hour less by then."""
    end = datetime(2026, 11, 28, 12, tzinfo=UTC)
    helm, now = asked.step.observer().helm, end.timestamp()
    assert Patience(end, 60.0).until(helm, now, 3600.0) == datetime(2026, 11, 28, 11, tzinfo=UTC)
    assert Patience(None, 60.0).until(helm, now, 3600.0) is None
