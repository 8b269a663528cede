"""Waiting in the triggerer until a check is ready, has failed, or its deadline has passed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat

import pytest

from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.rollout import checks
from inference_rollouts.triggers import ready
from inference_rollouts.triggers.ready import ReadyTrigger
from tests.support.airflow import event_of, use
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight, run_on

Answers = Callable[[Iterator[Readiness | Exception]], None]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What the check of nodes answers, one after the other."""

    def answering(answers: Iterator[Readiness | Exception]) -> None:
        def check(*_: object) -> Readiness:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setitem(checks.CHECKS, "nodes", check)

    return answering


def waiting(seconds: float) -> ReadyTrigger:
    frozen = preflight(FakeCluster()).to_json()
    return ReadyTrigger(frozen=frozen, check="nodes", deadline=time.time() + seconds, poll=0)


def test_readiness_is_told_once_it_is_there(nodes: Answers) -> None:
    phases = [(Phase.WAITING, "1 of 3"), (Phase.WAITING, "2 of 3"), (Phase.READY, "ok")]
    nodes(Readiness(phase, message) for phase, message in phases)
    event = event_of(waiting(60))
    assert (event["phase"], event["message"]) == ("ready", "ok")


def test_a_passed_deadline_is_told_as_still_waiting(nodes: Answers) -> None:
    nodes(iter([Readiness(Phase.WAITING, "1 of 3")]))
    event = event_of(waiting(-1))
    assert (event["phase"], event["message"]) == ("waiting", "1 of 3")


def test_a_cluster_that_does_not_answer_is_waited_for(nodes: Answers) -> None:
    refused = ConnectionError("refused")
    nodes(iter([refused, refused, Readiness(Phase.READY, "ok")]))
    assert event_of(waiting(60))["phase"] == "ready"


def test_no_answer_at_the_deadline_decides_nothing(nodes: Answers) -> None:
    """Nor at the first look of who takes over long after it."""
    for late in (-1, -3600):
        nodes(iter([ConnectionError("refused"), Readiness(Phase.READY, "ok")]))
        assert event_of(waiting(late))["phase"] == "ready"


def test_who_answers_at_last_after_the_deadline_ends_the_wait(nodes: Answers) -> None:
    nodes(iter([ConnectionError("refused"), Readiness(Phase.WAITING, "1 of 3")]))
    assert event_of(waiting(-1))["message"] == "1 of 3"


def test_what_keeps_silent_after_the_deadline_ends_the_wait(
    nodes: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "LAST_WORD", 0.1)
    nodes(repeat(ConnectionError("refused")))
    began = time.time()
    event = event_of(waiting(-1))
    assert (event["phase"], event["message"]) == ("waiting", "the cluster does not answer: refused")
    assert time.time() >= began + 0.1


@pytest.mark.parametrize(
    ("seconds", "later", "pause"), [(60, 0.0, 0.0), (60, 5.0, 5.0), (60, 3600.0, 15.0), (-9, 5.0, 0.0)]
)
def test_a_cluster_that_wants_to_be_asked_later_is_as_far_as_there_is_time(
    nodes: Answers, seconds: float, later: float, pause: float
) -> None:
    busy = ClusterUnavailable("GET", "/api/v1/nodes", 429, "too many requests", later)
    nodes(iter([busy]))
    trigger = waiting(seconds)
    answer = trigger.look(run_on(FakeCluster()))
    assert not answer.answered
    assert trigger._pause(answer, trigger.deadline - seconds) == pause


@pytest.mark.parametrize("behind", [-7200.0, 7200.0])
def test_a_deadline_is_one_of_the_clock_that_all_have_in_common(
    behind: float, nodes: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the API server's, however far the triggerer's own is from it, and from that of who deferred."""
    cluster = FakeCluster()
    cluster.clock = lambda: time.time() + behind
    run = run_on(cluster)
    use(run.clients, monkeypatch)
    nodes(iter([Readiness(Phase.WAITING, "1 of 3")]))
    frozen, deadline = run.frozen.to_json(), cluster.time() + 60

    def trigger(left: float) -> ReadyTrigger:
        return ReadyTrigger(frozen=frozen, check="nodes", deadline=deadline - 60 + left, poll=0)

    assert event_of(trigger(-1))["phase"] == "waiting", "it is over at once"
    nodes(iter([Readiness(Phase.WAITING, "1 of 3"), Readiness(Phase.READY, "ok")]))
    assert event_of(trigger(60))["phase"] == "ready", "there was time for a second look"
