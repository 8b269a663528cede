"""Waiting for room for the next raise, and watching the step before it meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.rollout import checks
from inference_rollouts.rollout.control import Control
from inference_rollouts.triggers.judge import JudgeTrigger
from inference_rollouts.triggers.room import RoomTrigger
from tests.support.airflow import event_of, use
from tests.support.calendars import blackout, calendar
from tests.support.plans import CANARY, STABLE
from tests.support.steps import Step


class Waiting:
    """A step that was judged good just now, and a raise that waits for room: `asked` so often in vain."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        analysis = {"interval": "250ms", "margin": None, "progress_deadline": "100ms"}
        self.step = Step(time.time() - 1, analysis=analysis)
        self.judgement: dict[str, Any] = self.step.judged()["judgement"]
        assert self.judgement["verdict"] == "advance"
        self.vain, asked = 0, count()
        use(self.step.run.clients, monkeypatch)

        def room(*_: object) -> Readiness:
            return Readiness.when(next(asked) >= self.vain, "llm-pool has 1 ready pod")

        monkeypatch.setitem(checks.CHECKS, "capacity", room)

    def event(self, judgement: dict[str, Any] | None, opens: float = 0.0) -> Any:
        return event_of(self.trigger(judgement, opens, time.time() + 600))

    def trigger(
        self, judgement: dict[str, Any] | None, opens: float = 0.0, deadline: float = 0.0
    ) -> RoomTrigger:
        return RoomTrigger(
            judgement=judgement,
            opens=opens,
            frozen=self.step.run.frozen.to_json(),
            check="capacity:2",
            deadline=deadline,
            poll=0.02,
        )


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(monkeypatch)


def test_room_ends_the_wait(waiting: Waiting) -> None:
    waiting.vain = 3
    assert waiting.event(waiting.judgement)["phase"] == Phase.READY
    assert waiting.step.cluster.weights()[CANARY] == 50


def test_before_the_first_raise_there_is_nothing_to_watch(waiting: Waiting) -> None:
    waiting.step.prometheus.failing[CANARY] = 1.0
    waiting.vain = 40
    assert waiting.event(None)["phase"] == Phase.READY


@pytest.mark.parametrize("fails", [True, False])
def test_an_alarm_takes_the_traffic_away_at_once(waiting: Waiting, fails: bool) -> None:
    """Also where the canary has no pod any more."""
    waiting.vain = 10**9
    if fails:
        waiting.step.prometheus.failing[CANARY] = 1.0
    else:
        waiting.step.cluster.scale(CANARY, 0)
    event = waiting.event(waiting.judgement)
    assert event["judgement"]["verdict"] == "rollback"
    assert event["record"]
    assert waiting.step.cluster.weights() == {STABLE: 1, CANARY: 0}
    assert waiting.step.cluster.events[-1] == "CanaryAlarm"


def test_a_route_lost_to_others_ends_the_wait(waiting: Waiting) -> None:
    waiting.vain = 10**9
    waiting.step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    assert "was changed by" in waiting.event(waiting.judgement)["error"]


def test_room_is_asked_for_from_the_opening_of_the_window_on(waiting: Waiting) -> None:
    opens = time.time() + 0.5
    assert waiting.event(waiting.judgement, opens)["phase"] == Phase.READY
    assert time.time() >= opens


def test_an_alarm_waits_for_no_window(waiting: Waiting) -> None:
    waiting.step.cluster.scale(CANARY, 0)
    assert waiting.event(waiting.judgement, time.time() + 600)["judgement"]["verdict"] == "rollback"
    assert waiting.step.cluster.weights() == {STABLE: 1, CANARY: 0}


def test_an_open_step_goes_back_where_the_plan_says_so_of_the_end_of_its_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person is waited for, or room, or the judge: none of them longer than that."""
    waiting = Waiting(monkeypatch)
    frozen = waiting.step.run.frozen
    over = calendar(blackouts=[blackout("2020-01-01", "2999-01-01")], at_window_end="rollback")
    waiting.step.run = replace(waiting.step.run, frozen=replace(frozen, calendar=over))
    waiting.vain = 10**9
    assert "this plan goes back then" in waiting.event(waiting.judgement)["error"]
    judge = JudgeTrigger(frozen=waiting.step.run.frozen.to_json(), step=1, since=waiting.step.since)
    assert "this plan goes back then" in event_of(judge)["error"]


def test_what_is_paused_waits_until_it_is_resumed_whatever_its_deadline(waiting: Waiting) -> None:
    run = waiting.step.run
    wheel = Control(waiting.step.cluster, run.frozen.targets, run.frozen.token)
    wheel.give("pause", "anna", "lunch")
    trigger = waiting.trigger(waiting.judgement, deadline=time.time() - 1)
    assert trigger.look(run) == Readiness(Phase.WAITING, "paused by anna: lunch")
    assert trigger.deadline > time.time() + run.plan.deadlines.route - 10
    wheel.give("resume", "anna", "back")
    assert trigger.look(run).phase is Phase.READY


def test_what_was_paused_for_too_long_goes_back_and_says_so(waiting: Waiting) -> None:
    """While room is waited for, and while the step is judged: nobody is left with Airflow's own timeouts."""
    run = waiting.step.run
    wheel = Control(waiting.step.cluster, run.frozen.targets, run.frozen.token)
    waiting.step.cluster.clock = lambda: time.time() - 8 * 86400
    wheel.give("pause", "anna", "lunch")
    waiting.step.cluster.clock = time.time
    words = "It was paused for 7d by anna: lunch, and nobody resumed it"
    trigger = waiting.trigger(None, deadline=time.time() + 60)
    assert trigger.look(run) == Readiness(Phase.FAILED, words)
    judge = JudgeTrigger(frozen=run.frozen.to_json(), step=1, since=waiting.step.since)
    assert event_of(judge)["error"] == f"{words}."


def test_who_goes_on_waiting_for_room_after_a_pause_has_as_long_for_it(waiting: Waiting) -> None:
    """A triggerer that takes over knows the deadline as it was before the pause."""
    run, cluster = waiting.step.run, waiting.step.cluster
    wheel = Control(cluster, run.frozen.targets, run.frozen.token)
    wheel.give("pause", "anna", "lunch")
    wheel.give("resume", "anna", "back")
    waiting.vain = 10**9
    trigger = waiting.trigger(waiting.judgement, deadline=time.time() - 1)
    assert trigger.look(run).phase is Phase.WAITING
    assert trigger.deadline > time.time() + run.plan.deadlines.route - 10


@pytest.mark.parametrize("watched", [True, False])
def test_an_abort_ends_the_wait(waiting: Waiting, watched: bool) -> None:
    run = waiting.step.run
    waiting.vain = 10**9
    Control(waiting.step.cluster, run.frozen.targets, run.frozen.token).give("abort", "anna", "the pager")
    event = waiting.event(waiting.judgement if watched else None, opens=0.0 if watched else time.time() + 600)
    if watched:
        assert (event["judgement"]["verdict"], event["by"]) == ("rollback", "anna")
        assert waiting.step.cluster.weights() == {STABLE: 1, CANARY: 0}
    else:
        assert (event["phase"], event["message"]) == (Phase.FAILED, "aborted by anna: the pager")
