"""A person is asked between judge and gate; the step is watched until the answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml

from inference_rollouts.core.judging.judge import Carried, Judgement
from inference_rollouts.triggers import ask as ask_module
from inference_rollouts.triggers.ask import AskTrigger

from .test_triggers import again, event_of, held, judged, quick
from .test_triggers import cluster as small_cluster  # noqa: F401

pytestmark = pytest.mark.usefixtures("database")
HITL = "airflow.providers.standard.triggers.hitl"
CANARY = "llm-pool-version-2"


class Person:
    """Who answers when first looked for, or after `patience` looks; never by default."""

    def __init__(self):
        self.choice, self.patience, self.name = None, 0, "Anna"

    def detail(self, ti_id):
        self.patience -= 1
        given = self.choice is not None and self.patience < 0
        return SimpleNamespace(
            response_received=given,
            chosen_options=[self.choice] if given else None,
            params_input={},
            responded_at=datetime.now(UTC) if given else None,
            responded_by_user=SimpleNamespace(id="1", name=self.name) if given else None,
        )

    def silence(self, ti_id, chosen_options, params_input):
        return SimpleNamespace(responded_at=datetime.now(UTC))


@pytest.fixture
def person(monkeypatch):
    person = Person()
    monkeypatch.setattr(f"{HITL}.get_hitl_detail_content_detail", person.detail)
    monkeypatch.setattr(f"{HITL}.update_hitl_detail_response", person.silence)
    return person


@pytest.fixture
def asking(include):
    """Changes the plan: `approvals`, and what else is given for `analysis`."""

    def change(approvals, **analysis):
        plan = yaml.safe_load(include.read_text())
        plan["analysis"] |= analysis
        include.write_text(yaml.safe_dump(plan | {"approvals": approvals}))

    return change


def questions():
    from airflow.models.hitl import HITLDetail
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return [
            (q.subject, q.body) for q in session.scalars(select(HITLDetail).order_by(HITLDetail.created_at))
        ]


def test_a_yes_before_100_percent_promotes(rollout, cluster, person, asking):
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


def test_a_no_rolls_back(rollout, cluster, person, asking):
    asking({"steps": [100]})
    person.choice = "Roll back"
    run = rollout()
    assert run.ran("step_1.judge", "step_1.ask", "step_1.gate", "rollback")
    assert run.states["step_2.shift"] == run.states["step_2.ask"] == run.states["promote"] == "skipped"
    assert 'Anna chose "Roll back"' in run.note
    assert cluster.events[-1] == "RolledBack"


@pytest.mark.parametrize(("policy", "state"), [("rollback", "failed"), ("advance", "success")])
def test_silence_is_what_the_plan_says(rollout, person, asking, policy, state):
    asking({"steps": [100], "timeout": "1ms", "on_timeout": policy})
    run = rollout()
    assert run.state == state
    assert "Nobody answered" in run.note


def test_silence_about_a_doubt_of_the_judge_never_advances(rollout, prometheus, person, asking):
    asking({"timeout": "1ms", "on_timeout": "advance"}, on_timeout="ask", progress_deadline="500ms")
    _dies_at_the_first_shift(prometheus)
    run = rollout()
    assert run.ran("step_1.judge", "step_1.ask", "rollback")
    assert "does not answer" in run.note


def test_a_yes_to_a_doubt_of_the_judge_goes_on(rollout, prometheus, person, asking):
    asking({}, on_timeout="ask", progress_deadline="500ms")
    person.choice = "Go on"
    _dies_at_the_first_shift(prometheus)
    run = rollout()
    assert run.state == "success"
    assert run.ran("step_1.ask", "step_2.ask", "promote")


def _dies_at_the_first_shift(prometheus):
    fake, shift = prometheus.cluster, prometheus.cluster.patch

    def patch(*args):
        answer = shift(*args)
        prometheus.down = fake.weights().get(CANARY, 0) > 0
        return answer

    fake.patch = patch


def test_an_alarm_waits_for_nobody(rollout, cluster, prometheus, person, asking, monkeypatch):
    asking({"steps": [100]})
    detail = person.detail

    def fails_once_asked(ti_id):
        prometheus.failing[CANARY] = 0.2
        return detail(ti_id)

    monkeypatch.setattr(f"{HITL}.get_hitl_detail_content_detail", fails_once_asked)
    run = rollout()
    assert run.ran("step_1.ask", "rollback")
    assert "The canary is worse: HTTP 5xx" in run.note
    assert cluster.events[-2:] == ["CanaryAlarm", "RolledBack"]
    assert run.states["step_2.shift"] == "skipped"


@pytest.mark.parametrize("task", ["step_1.ask", "step_1.judge", "step_1.gate"])
def test_an_accident_is_never_a_yes(rollout, cluster, person, asking, task):
    asking({"steps": [100]})
    person.choice = "Go on"
    run = rollout(raising=task)
    assert run.states[task] == "failed"
    assert run.ran("rollback")
    assert cluster.weights()["llm-pool"] == 1


def test_a_plan_without_questions_has_no_such_task(rollout, include):
    assert "step_1.ask" not in rollout().states


# The trigger itself.


def trigger(frozen, said, **changes):
    kwargs = {
        "ti_id": "0", "options": ["Go on", "Roll back"], "defaults": ["Roll back"], "params": {},
        "timeout_datetime": datetime.fromtimestamp(time.time() + 60, UTC), "poke_interval": 0.02,
    }  # fmt: skip
    return AskTrigger(frozen=frozen.to_json(), said=said, **kwargs | changes)


@pytest.fixture
def step(small_cluster):  # noqa: F811
    """A step that was judged good, and its frozen plan."""
    frozen = quick(
        small_cluster, analysis={"margin": None, "progress_deadline": "100ms"}, approvals={"steps": [100]}
    )
    said = judged(small_cluster, frozen, held(small_cluster, frozen, 50))["judgement"]
    assert said["verdict"] == "advance"
    return frozen, said


def test_an_answer_ends_the_watch(step, person):
    person.choice = "Go on"
    assert event_of(trigger(*step))["chosen_options"] == ["Go on"]


def test_missing_data_and_a_passed_deadline_take_nothing_back(step, person, small_cluster):  # noqa: F811
    small_cluster.prometheus.down = True
    person.choice, person.patience = "Go on", 40
    assert event_of(trigger(*step))["chosen_options"] == ["Go on"]
    assert small_cluster.weights()[CANARY] > 0


def test_an_alarm_takes_the_traffic_away_at_once(step, person, small_cluster):  # noqa: F811
    small_cluster.prometheus.failing[CANARY] = 0.2
    event = event_of(trigger(*step))
    assert event["judgement"]["verdict"] == "rollback"
    assert small_cluster.weights() == {"llm-pool": 1, CANARY: 0}
    assert small_cluster.events[-1] == "CanaryAlarm"


def test_an_alarm_record_can_be_judged_again(step, person, small_cluster):  # noqa: F811
    from inference_rollouts.core.judging.decision_record import replay

    small_cluster.prometheus.failing[CANARY] = 0.2
    record = event_of(trigger(*step))["record"]
    assert replay(record) == record


def test_weak_evidence_adds_up_over_the_legs_of_a_long_watch(step, person, small_cluster, monkeypatch):  # noqa: F811
    monkeypatch.setattr(ask_module, "LEG", 0.1)
    small_cluster.prometheus.rate, small_cluster.prometheus.failing[CANARY] = 400.0, 0.03
    event = event_of(trigger(*step))
    assert event["judgement"]["verdict"] == "rollback"
    assert event["judgement"]["time"] - step[1]["time"] > 0.2


def test_going_back_waits_while_stable_is_gone_and_comes_with_it(step, person, small_cluster, monkeypatch):  # noqa: F811
    pods = {key: small_cluster.objects.pop(key) for key in [("Pod", f"llm-pool-{n}") for n in range(3)]}
    small_cluster.prometheus.failing[CANARY] = 0.2
    looks = itertools.count()

    def comes_back(ti_id):
        if next(looks) == 20:
            assert small_cluster.weights()[CANARY] > 0
            small_cluster.objects.update(pods)
        return person.detail(ti_id)

    monkeypatch.setattr(f"{HITL}.get_hitl_detail_content_detail", comes_back)
    assert event_of(trigger(*step))["judgement"]["verdict"] == "rollback"
    assert small_cluster.weights()[CANARY] == 0


def test_a_route_lost_to_others_ends_the_watch(step, person, small_cluster):  # noqa: F811
    small_cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    assert "was changed by" in event_of(trigger(*step))["error"]


def test_an_api_server_that_does_not_answer_stops_no_watch(step, person, monkeypatch):
    person.choice, detail = "Go on", person.detail
    calls = []

    def flaky(ti_id):
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("refused")
        return detail(ti_id)

    monkeypatch.setattr(f"{HITL}.get_hitl_detail_content_detail", flaky)
    assert event_of(trigger(*step))["chosen_options"] == ["Go on"]


def test_a_trigger_that_is_ended_looks_no_more(step, person, small_cluster):  # noqa: F811
    async def ended():
        running = asyncio.ensure_future(anext(aiter(again(trigger(*step)).run())))
        await asyncio.sleep(0.2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0.1)
        return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(ended()) == []


def test_a_canary_that_was_taken_off_gets_no_weight_by_a_late_yes(step, small_cluster):  # noqa: F811
    from inference_rollouts.core.errors import RolloutError
    from inference_rollouts.rollout.traffic import Traffic

    frozen, said = step
    assert Carried.from_json(said["carried"]).steps == Judgement.from_json(said).step == 1
    traffic = Traffic(small_cluster, frozen.plan, frozen.run, frozen.targets)
    traffic.retreat("alarm")
    with pytest.raises(RolloutError, match="taken off"):
        traffic.shift(100, 2, time.time())
