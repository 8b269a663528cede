"""What may pass is tried again, with growing pauses; a decision comes out at once. Nothing sleeps here."""

from __future__ import annotations

import logging

import pytest
import requests

from inference_rollouts.core.errors import (
    ClusterRefused,
    ClusterUnavailable,
    Forbidden,
    GkeBusy,
    NotFound,
    PatchRefused,
    PrometheusUnavailable,
    RolloutError,
)
from inference_rollouts.core.limits import OBEYED
from inference_rollouts.rollout.retrying import for_seconds, without_end

ROUTE = "/apis/gateway.networking.k8s.io/v1/namespaces/prod/httproutes/llm"
DOWN = ClusterUnavailable("PATCH", ROUTE, 503, "starting")
FORBIDDEN = Forbidden("PATCH", ROUTE, 403, "no RBAC policy matched.")


class Time:
    """A clock that only sleeping moves, by what is slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Act:
    """Raises `errors` one after the other, then `forever` if it is given, else answers."""

    def __init__(self, *errors: Exception, forever: Exception | None = None) -> None:
        self.errors = list(errors)
        self.forever = forever
        self.calls = 0

    def __call__(self, answer: str = "done") -> str:
        self.calls += 1
        error = self.errors.pop(0) if self.errors else self.forever
        if error is not None:
            raise error
        return answer


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.mark.parametrize(
    "error",
    [
        DOWN,
        FORBIDDEN,
        GkeBusy("busy"),
        requests.ConnectionError("refused"),
        requests.ReadTimeout("slow"),
        ConnectionResetError("reset"),
        TimeoutError("slow"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_tried_again(time: Time, error: Exception) -> None:
    for policy in (for_seconds(100, now=time, sleep=time.sleep), without_end(now=time, sleep=time.sleep)):
        act = Act(error, error)
        assert policy(act, answer="there") == "there"
        assert act.calls == 3


@pytest.mark.parametrize(
    "error",
    [
        RolloutError("no"),
        ClusterRefused("no"),
        NotFound("no"),
        PatchRefused("no"),
        PrometheusUnavailable("no"),
        KeyError("a fault of ours"),
        FileNotFoundError("no kubeconfig"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_decision_comes_out_at_once(time: Time, error: Exception) -> None:
    for policy in (for_seconds(100, now=time, sleep=time.sleep), without_end(now=time, sleep=time.sleep)):
        act = Act(DOWN, error)
        with pytest.raises(type(error)):
            policy(act)
        assert act.calls == 2


def test_pauses_grow_from_half_a_second_to_a_quarter_of_a_minute(time: Time) -> None:
    without_end(now=time, sleep=time.sleep)(Act(*[DOWN] * 200))
    assert time.pauses[0] == 0.5
    assert all(0.5 <= pause <= 15 for pause in time.pauses)
    assert all(pause <= 0.5 * 2**number for number, pause in enumerate(time.pauses[:5]))
    assert max(time.pauses) > 5
    assert len(set(time.pauses)) > 100, "many that wait must not all come back at once"


def test_a_task_ends_at_its_deadline_with_what_was_in_the_way(time: Time) -> None:
    time.now = 1000.0
    act = Act(forever=DOWN)
    with pytest.raises(ClusterUnavailable, match="starting"):
        for_seconds(100, now=time, sleep=time.sleep)(act)
    assert time.now == pytest.approx(1100)
    assert act.calls == len(time.pauses) + 1


def test_a_deadline_that_has_passed_leaves_one_try(time: Time) -> None:
    time.now = 10.0
    act = Act(forever=DOWN)
    with pytest.raises(ClusterUnavailable):
        for_seconds(-5, now=time, sleep=time.sleep)(act)
    assert (act.calls, time.pauses) == (1, [])


def test_the_way_back_never_gives_up(time: Time) -> None:
    act = Act(*[DOWN, FORBIDDEN, requests.ConnectionError("refused")] * 2000)
    assert without_end(now=time, sleep=time.sleep)(act) == "done"
    assert time.now > 12 * 3600


def test_what_is_in_the_way_is_logged_once_a_minute(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    without_end(now=time, sleep=time.sleep)(Act(*[DOWN] * 300))
    assert "503" in caplog.messages[0]
    assert "starting" in caplog.messages[0]
    assert time.now / 75 - 1 < len(caplog.messages) <= time.now / 60 + 1


def test_a_right_that_is_missing_for_a_minute_is_named_and_still_tried(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    without_end(now=time, sleep=time.sleep)(Act(*[FORBIDDEN] * 30))
    assert "If that right is missing" not in caplog.messages[0]
    told = caplog.messages[1]
    assert "to patch httproutes.gateway.networking.k8s.io in namespace prod" in told
    assert "no RBAC policy matched. If that right is missing, grant it as docs/rbac.yaml does" in told
    assert told.endswith("It is still tried.")


def test_a_403_now_and_then_is_no_missing_right(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    without_end(now=time, sleep=time.sleep)(Act(*[FORBIDDEN, FORBIDDEN, DOWN] * 100))
    assert not any("docs/rbac.yaml" in message for message in caplog.messages)


def busy(later: float) -> ClusterUnavailable:
    return ClusterUnavailable("PATCH", ROUTE, 429, "too many requests", later)


def test_a_server_is_not_asked_before_it_wants_to_be(time: Time) -> None:
    assert for_seconds(100, now=time, sleep=time.sleep)(Act(busy(30), busy(0))) == "done"
    assert time.pauses[0] == 30
    assert time.pauses[1] <= 1


def test_it_is_asked_at_the_deadline_whatever_it_says(time: Time) -> None:
    act = Act(busy(3600))
    assert for_seconds(100, now=time, sleep=time.sleep)(act) == "done"
    assert time.now == 100
    assert act.calls == 2


@pytest.mark.parametrize("hurried", [True, False])
def test_a_way_back_does_not_wait_for_long_because_a_server_says_so(time: Time, *, hurried: bool) -> None:
    policy = (
        for_seconds(1000, hurries=True, now=time, sleep=time.sleep)
        if hurried
        else without_end(now=time, sleep=time.sleep)
    )
    assert policy(Act(busy(2), busy(3600), busy(1e300))) == "done"
    assert time.pauses == [2, OBEYED, OBEYED]
