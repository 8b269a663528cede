"""What people hear: which transitions a run's course has, and how each is told."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.notifications import Means, Notification, Occasion
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.reporting.series import Reason
from inference_rollouts.core.reporting.transition import (
    ENDINGS,
    Course,
    Transition,
    as_asked,
    of_run,
    reason_of,
    refusal,
    transitions,
)
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight
from tests.support.plans import CANARY, RUN, STABLE, llm, llm_plan, parsed

FROZEN = preflight(FakeCluster())
PASSED = {"verdict": "advance", "step": 1, "reason": "good", "evidence": 1.5, "canary": {"requests": 9}}
ALARM = {"verdict": "rollback", "step": 2, "reason": "bad", "evidence": 30.0, "alarm_at": 20.0}


def occasions(**course: Any) -> list[tuple[str, int]]:
    return [(each.occasion.value, each.step) for each in transitions(Course(FROZEN, **course))]


def test_the_course_of_a_run_is_told_in_order() -> None:
    assert occasions() == [("started", 0)]
    ended = (Outcome.ROLLED_BACK, "bad")
    told = occasions(raised=(1, 2), passed={1: PASSED}, alarms=(ALARM,), ended=ended)
    assert told == [("started", 0), ("raised", 1), ("raised", 2), ("alarm", 2), ("rolled-back", 2)]
    assert occasions(raised=(1,), drift="was changed by x") == [("started", 0), ("raised", 1), ("drift", 1)]


def test_a_raise_says_on_which_grounds() -> None:
    *_, raised = transitions(Course(FROZEN, raised=(1, 2), passed={1: PASSED}))
    assert (raised.reason, raised.percent) == ("good", FROZEN.plan.all_steps[1].weight)
    assert raised.figures == {"evidence": 1.5, "canary_requests": 9.0}


def test_what_is_found_again_has_the_same_id_and_all_others_another() -> None:
    course = Course(FROZEN, raised=(1, 2), alarms=(ALARM,), ended=(Outcome.ROLLED_BACK, "bad"))
    ids = [each.id for each in transitions(course)]
    assert ids == [each.id for each in transitions(course)]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith(FROZEN.token) for one in ids)
    refused = [refusal(FROZEN.plan, RUN, "", why).id for why in ("a", "a", "b")]
    assert refused[0] == refused[1] != refused[2]


@pytest.mark.parametrize(
    ("wanted", "canary"),
    [({"canary": "v7"}, "v7"), ({"canary": ""}, CANARY), ({"canary": 7}, CANARY), ({}, CANARY)],
)
def test_who_was_refused_hears_of_the_pool_they_asked_for(wanted: dict[str, Any], canary: str) -> None:
    assert refusal(as_asked(FROZEN.plan, wanted), RUN, "", "why").canary == canary


def test_every_outcome_is_told() -> None:
    assert set(ENDINGS) == set(Outcome)


@pytest.mark.parametrize(
    ("course", "reason"),
    [
        ({"ended": (Outcome.PROMOTED, "")}, Reason.PASSED),
        ({"ended": (Outcome.ROLLED_BACK, ""), "alarms": (ALARM,)}, Reason.ALARM),
        ({"ended": (Outcome.ASTRAY, ""), "drift": "x"}, Reason.DRIFT),
        ({"ended": (Outcome.ROLLED_BACK, ""), "declined": True}, Reason.PERSON),
        ({"ended": (Outcome.ROLLED_BACK, "")}, Reason.FAILURE),
    ],
)
def test_an_end_has_a_reason_in_a_word(course: dict[str, Any], reason: Reason) -> None:
    assert reason_of(Course(FROZEN, **course)) is reason


def test_it_is_a_cloud_event() -> None:
    event = of_run(FROZEN, Occasion.ALARM, 1, "bad", {"evidence": 30.0}).cloud_event(1000.0)
    assert event["specversion"] == "1.0"
    assert event["id"] == f"{FROZEN.token}/alarm/1"
    assert event["source"] == "/inference-rollouts/default/llm"
    assert event["type"] == "dev.inference-rollouts.rollout.alarm"
    assert datetime.fromisoformat(event["time"]).timestamp() == 1000.0
    assert event["datacontenttype"] == "application/json"
    data = event["data"]
    assert (data["stable"], data["canary"], data["figures"]) == (STABLE, CANARY, {"evidence": 30.0})
    assert "ALARM" in data["headline"]
    assert json.loads(json.dumps(event)) == event


def test_figures_are_told_as_people_read_them() -> None:
    told = of_run(FROZEN, Occasion.RAISED, 1, "fine", {"evidence": 0.5, "canary_requests": 12345.0})
    assert "evidence 0.5, canary_requests 12,300" in told.text


@given(
    st.text(), st.sampled_from([each for each in Occasion if each is not Occasion.DIGEST]), st.integers(0, 2)
)
def test_words_of_others_stay_on_their_line(words: str, occasion: Occasion, step: int) -> None:
    told = of_run(FROZEN, occasion, step, words)
    assert "\n" not in told.headline
    assert all(line.isprintable() for line in told.text.split("\n"))
    assert len(told.text.split("\n")) <= 3
    assert Transition.from_json(told.to_json()) == told


class TestNotifications:
    def test_everything_is_told_if_nothing_is_said(self) -> None:
        told = Notification(by=Means.WEBHOOK, connection="x").of
        assert set(Occasion) - set(told) == {Occasion.DIGEST}

    @pytest.mark.parametrize(
        ("notification", "words"),
        [
            ({"by": "email", "connection": "x"}, "`to` must be the addresses for email"),
            ({"by": "slack", "connection": "x"}, "`to` must be one channel for slack"),
            ({"by": "slack", "connection": "x", "to": ["#a", "#b"]}, "`to` must be one channel for slack"),
            ({"by": "webhook", "connection": "x", "to": ["a"]}, "`to` must be nothing for webhook"),
            ({"by": "webhook", "connection": "x", "of": []}, "at least 1 item"),
            ({"by": "pigeon", "connection": "x"}, "notifications.0.by"),
            ({"by": "webhook", "connection": "x", "of": ["bored"]}, "notifications.0.of.0"),
            ({"by": "webhook", "connection": "x", True: ["alarm"]}, "notifications.0"),
        ],
    )
    def test_a_mistake_is_named(self, notification: dict[Any, Any], words: str) -> None:
        with pytest.raises(PlanInvalid, match=words):
            parsed(llm(notifications=[notification]))

    def test_a_plan_may_have_several(self) -> None:
        plan = llm_plan(
            notifications=[
                {"by": "webhook", "connection": "hooks"},
                {"by": "email", "connection": "smtp", "to": ["a@example.com"], "of": ["astray"]},
            ]
        )
        assert [each.by for each in plan.notifications] == [Means.WEBHOOK, Means.EMAIL]
