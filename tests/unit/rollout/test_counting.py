"""The metrics store is asked beside everything else: for what was missed, once, nobody waits long."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from inference_rollouts.core.judging.counts import Grid
from inference_rollouts.core.judging.metrics import SERIES
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.core.limits import CATCH_UP, FIRST_WORD, LATE
from inference_rollouts.rollout import step_observer
from inference_rollouts.rollout.spare import Spare
from tests.support.plans import CANARY, STABLE
from tests.support.steps import Step

SECONDS = {"interval": "1s", "margin": None}


def asked_of(step: Step, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many times each query of counters asks for."""
    asked: list[int] = []
    query = step.prometheus.query

    def one(promql: str, at: float) -> list[dict[str, Any]]:
        if "avg_over_time" not in promql:
            asked.append(1)
        return query(promql, at)

    def several(promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
        asked.append(len(at))
        assert len({round(later - earlier, 6) for earlier, later in pairwise(at)}) == 1, "no range is uneven"
        return [query(promql, each) for each in at]

    monkeypatch.setattr(step.prometheus, "query", one)
    monkeypatch.setattr(step.prometheus, "query_range", several)
    return asked


def test_who_takes_over_late_asks_once_for_all_that_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(analysis=SECONDS, metrics="vllm")
    asked, observer = asked_of(step, monkeypatch), step.observer()
    observer.observe(step.since + 600)
    assert asked == [1, 1, 600 // 6]
    assert sum(asked) <= CATCH_UP
    assert observer.latest.windows[-1].end == step.since + 600
    assert observer.sums.seconds == 600
    observer.observe(step.since + 601)
    assert asked[3:] == [1]


def test_a_store_that_failed_is_asked_for_the_newest_tick_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(analysis=SECONDS, metrics="vllm")
    asked, observer = asked_of(step, monkeypatch), step.observer()
    observer.observe(step.since)
    observer.observe(step.since + 1)
    step.prometheus.down = True
    assert "does not answer" in observer.observe(step.since + 31).reason
    step.prometheus.down = False
    observer.observe(step.since + 61)
    assert asked == [1, 1, 30, 1]
    window = observer.latest.windows[-1]
    assert (window.start, window.end) == (step.since + 1, step.since + 61)


def test_a_store_that_fails_from_the_first_is_asked_for_the_fewest_ticks_each_at_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Step(analysis=SECONDS, metrics="vllm")
    asked, observer = asked_of(step, monkeypatch), step.observer()
    step.prometheus.down = True
    observer.observe(step.since + 30)
    step.prometheus.down = False
    asked.clear()
    observer.observe(step.since + 60)
    assert asked == [1, 1, 1]
    newest = observer.latest.windows[-1]
    assert (newest.start, newest.end) == (step.since + 1, step.since + 60)
    assert observer.sums.seconds == 60


def test_a_store_that_keeps_minutes_is_asked_for_those_that_were_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Step(analysis=SECONDS, metrics=["vllm", "gke_load_balancer"])
    observer, minutes = step.observer(), list[float]()
    query = step.prometheus.query

    def one(promql: str, at: float) -> list[dict[str, Any]]:
        if "increase(" in promql:
            minutes.append(at - step.since)
        return query(promql, at)

    monkeypatch.setattr(step.prometheus, "query", one)
    for at in (0, 1, 250):
        observer.observe(step.since + at)
    assert set(minutes) >= {0, 60, 120, 180, 240}
    del minutes[:]
    for at in range(251, 301):
        observer.observe(step.since + at)
    assert minutes == list(range(251, 301)), "no time is asked for twice"


def test_a_clock_that_was_ahead_hides_nothing_of_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of times that are still to come the store has nothing."""
    step = Step(analysis=SECONDS | {"progress_deadline": "3h"}, metrics="vllm")
    observer, query = step.observer(), step.prometheus.query
    real = step.since
    monkeypatch.setattr(step.prometheus, "query", lambda promql, at: query(promql, at) if at <= real else [])
    assert observer.observe(step.since + 7200).verdict.value == "no data"
    for seconds in range(10):
        real = step.since + seconds
        observer.observe(real)
    assert observer.sums.seconds == 9
    assert observer.latest.windows[-1].end == real


def test_a_clock_that_goes_back_counts_nothing_twice_and_says_so() -> None:
    step = Step(analysis=SECONDS | {"progress_deadline": "3h"}, metrics="vllm")
    observer = step.observer()
    for seconds in range(10):
        observer.observe(step.since + seconds)
    before = observer.sums.n.tolist()
    judgement = observer.observe(step.since + 2)
    assert judgement.verdict.value == "no data"
    assert "ahead of the clock" in judgement.reason
    assert observer.sums.n.tolist() == before
    observer.observe(step.since + 10)
    assert observer.sums.seconds == 10


@pytest.mark.parametrize(("late", "ticks"), [(LATE, 1), (LATE + 1, LATE + 1)])
def test_who_is_a_little_late_asks_for_the_newest_tick_alone(
    late: int, ticks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has too much to do is given no more of it, and all that happened is counted."""
    step = Step(analysis=SECONDS, metrics="vllm")
    asked, observer = asked_of(step, monkeypatch), step.observer()
    observer.observe(step.since)
    observer.observe(step.since + 1)
    observer.observe(step.since + 1 + late)
    assert asked == [1, 1, ticks]
    assert observer.latest.windows[-1].end == step.since + 1 + late
    assert observer.sums.seconds == 1 + late


def test_of_many_who_take_over_together_each_asks_for_as_much_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What happened is counted all the same, in longer windows, and more is asked for as time goes on."""
    step, clock = Step(analysis=SECONDS, metrics="vllm"), [0.0]
    spare = Spare(150, 150.0, lambda: clock[0])
    asked = asked_of(step, monkeypatch)
    observers = [step.observer(spare) for _ in range(3)]
    for observer in observers:
        observer.observe(step.since + 600)
        assert observer.sums.seconds == 600
    assert asked == [1, 1, 100, *[1] * 3, *[1] * 3]
    clock[0] = LATE + 3
    observers[-1].observe(step.since + 600 + LATE + 3)
    assert asked[9:] == [LATE + 3]
    assert observers[-1].latest.windows[-1].end == step.since + 600 + LATE + 3


@pytest.mark.parametrize(
    ("spare", "seen"), [(Spare(0, 0.0), False), (Spare(0, 0.0), True), (Spare(CATCH_UP, 0.0), False)]
)
def test_failures_that_began_while_nobody_looked_are_counted_whatever_there_is_to_spare(
    spare: Spare, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their series begins with the first of them, as those of servers do."""
    step = Step(analysis=SECONDS, metrics="vllm")
    failing_between(21, 60, step, monkeypatch)
    observer = step.observer(spare)
    if seen:
        observer.observe(step.since)
    judgement = observer.observe(step.since + 60)
    assert judgement.reason.startswith("The canary is worse than stable: HTTP 5xx")


def failing_between(begin: int, end: int, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canary does so, in these seconds of the step; before, no series of failures is there."""
    query = step.prometheus.query

    def begun(promql: str, at: float) -> list[dict[str, Any]]:
        return [
            each
            for each in query(promql, at)
            if float(each["value"][1]) or not each["metric"].get(SERIES, "").startswith("errors/bad")
        ]

    monkeypatch.setattr(step.prometheus, "query", begun)
    for second in range(end + 1):
        step.prometheus.failing = {CANARY: 0.2} if second >= begin else {}
        step.prometheus.query("http", step.since + second)
    step.prometheus.failing = {}


def test_failures_of_the_first_moments_are_counted_however_late_somebody_takes_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Step(analysis=SECONDS, metrics="vllm")
    failing_between(3, 5, step, monkeypatch)
    observer, windows = step.observer(), list[WindowCounts]()
    monkeypatch.setattr(observer.recorder, "window", windows.append)
    observer.observe(step.since + 10 * CATCH_UP)
    assert sum(each.counts["errors"].canary.bad[0] for each in windows if "errors" in each.counts) > 1000


def test_nobody_waits_for_a_slow_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked one thing at a time, and what it says in the end counts."""
    monkeypatch.setattr(step_observer, "SLOW_STORE", 0.0)
    step = Step(analysis={"interval": "125ms", "margin": None}, metrics="vllm")
    query, begun, thinks, asked = step.prometheus.query, threading.Event(), threading.Event(), []

    def slow(promql: str, at: float) -> list[dict[str, Any]]:
        asked.append(at)
        begun.set()
        assert thinks.wait(60)
        return query(promql, at)

    monkeypatch.setattr(step.prometheus, "query", slow)
    observer = step.observer()
    for elapsed in (0.0, 0.125, 0.25):
        assert not observer.observe(step.since + elapsed).verdict.final
        assert begun.wait(60)
    assert asked == [step.since]
    thinks.set()
    monkeypatch.setattr(step_observer, "SLOW_STORE", 60.0)
    observer.observe(step.since + 0.375)
    observer.observe(step.since + 0.375)
    assert observer.latest.windows[-1].end == pytest.approx(step.since + 0.375)


class TestATakeoverAfterTheDeadline:
    """Of a step whose deadline has passed while nobody looked."""

    LATE = 600.0

    def late(self, monkeypatch: pytest.MonkeyPatch) -> Step:
        monkeypatch.setattr(step_observer, "SLOW_STORE", 60.0)
        long = {"interval": "10ms", "margin": None, "progress_deadline": "2m"}
        return Step(analysis=long, metrics="vllm")

    def test_waits_for_a_slow_store(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step, thinks = self.late(monkeypatch), threading.Event()
        observer, seen = step.observer(), step.since + self.LATE
        query_range = step.prometheus.query_range

        def slow(promql: str, at: Sequence[float]) -> list[list[dict[str, Any]]]:
            assert thinks.wait(60)
            return query_range(promql, at)

        monkeypatch.setattr(step.prometheus, "query_range", slow)
        monkeypatch.setattr(step_observer, "SLOW_STORE", 0.0)
        assert not observer.observe(seen).verdict.final
        thinks.set()
        monkeypatch.setattr(step_observer, "SLOW_STORE", 60.0)
        assert not observer.observe(seen + 1).verdict.final, "what came late is old"
        assert observer.observe(seen + 2).verdict.value == "advance"

    def test_asks_a_store_again_that_failed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step = self.late(monkeypatch)
        observer, step.prometheus.down = step.observer(), True
        assert not observer.observe(step.since + self.LATE).verdict.final
        step.prometheus.down = False
        assert observer.observe(step.since + self.LATE + 1).verdict.value == "advance"

    def test_asks_a_cluster_again_that_did_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step = self.late(monkeypatch)
        observer, get = step.observer(), step.cluster.get

        def unreachable(*_: object) -> None:
            raise ConnectionError("refused")

        monkeypatch.setattr(step.cluster, "get", unreachable)
        assert not observer.observe(step.since + self.LATE).verdict.final
        monkeypatch.setattr(step.cluster, "get", get)
        assert observer.observe(step.since + self.LATE + 1).verdict.value == "advance"

    def test_ends_as_the_plan_says_where_a_store_stays_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step = self.late(monkeypatch)
        observer, step.prometheus.down = step.observer(), True
        seen = step.since + self.LATE
        assert not any(observer.observe(at).verdict.final for at in (seen, seen + FIRST_WORD - 1))
        judgement = observer.observe(seen + FIRST_WORD)
        assert judgement.verdict.value == "rollback"
        assert "does not answer" in judgement.reason

    def test_ends_at_once_where_nothing_can_be_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The store has answered, and knows nothing."""
        step = self.late(monkeypatch)
        step.prometheus.unscraped = set(step.cluster.names("Pod"))
        judgement = step.observer().observe(step.since + self.LATE)
        assert judgement.verdict.value == "rollback"
        assert "No counts" in judgement.reason

    def test_alarms_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        step = self.late(monkeypatch)
        step.prometheus.down = True
        step.cluster.scale(CANARY, 0)
        reason = step.observer().observe(step.since + self.LATE).reason
        assert reason == "The canary has no ready endpoints."


def test_an_alarm_of_the_cluster_waits_for_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    step, never = Step(analysis=SECONDS, metrics="vllm"), threading.Event()

    def silent(promql: str, at: float) -> list[dict[str, Any]]:
        never.wait(60)
        return []

    monkeypatch.setattr(step.prometheus, "query", silent)
    step.cluster.scale(CANARY, 0)
    try:
        assert step.observer().observe(step.since).reason == "The canary has no ready endpoints."
        assert not never.is_set()
    finally:
        never.set()
    assert step.cluster.weights()[STABLE] == 50


def test_a_grid_may_be_as_fine_and_as_old_as_it_likes() -> None:
    assert len(Grid(0.0, 1e-6).missed(0, 1e9, CATCH_UP)) <= CATCH_UP
