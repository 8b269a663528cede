"""Windows through Airflow: a raise waits for the opening, and an override is told."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.schedule import windows
from inference_rollouts.core.schedule.calendar import _spans
from tests.support.airflow import Rollout
from tests.support.calendars import blackout
from tests.support.fake_cluster import FakeCluster
from tests.support.include import edit
from tests.support.plans import CANARY

TODAY = [blackout("2020-01-01", "2998-01-01")]


class Closed:
    """The one blackout of a plan: from `since` until `until`, to the second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.since = self.until = 0.0
        monkeypatch.setattr(windows, "moment_of", self._moment)
        _spans.cache_clear()

    def now_for(self, seconds: float) -> None:
        self.since = time.time()
        self.until = self.since + seconds
        _spans.cache_clear()

    def _moment(self, day: date, minutes: int, zone: str, *, late: bool) -> float:
        return self.until if late else self.since


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, include: Path) -> Any:
    edit(include, blackouts=TODAY)
    yield Closed(monkeypatch)
    _spans.cache_clear()


@pytest.fixture
def raised(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """When the canary's weight was set, and to what."""
    patch, seen = cluster.patch, list[tuple[float, int]]()

    def patching(*args: Any) -> K8sObject:
        answer = patch(*args)
        weight = cluster.weights().get(CANARY, 0)
        if not seen or seen[-1][1] != weight:
            seen.append((time.time(), weight))
        return answer

    monkeypatch.setattr(cluster, "patch", patching)
    return seen


def test_the_first_raise_waits_for_the_opening_and_the_rollout_is_promoted(
    rollout: Rollout, closed: Closed, raised: list[tuple[float, int]]
) -> None:
    closed.now_for(6.0)
    run = rollout()
    assert run.state == "success", run.note
    first = next(when for when, weight in raised if weight)
    assert closed.until <= first


def test_a_rollout_stays_where_it_is_over_a_closed_window_and_goes_on(
    rollout: Rollout, closed: Closed, raised: list[tuple[float, int]]
) -> None:
    run = rollout(before={"step_2.shift": lambda: closed.now_for(3.0) if not closed.until else None})
    assert run.state == "success", run.note
    assert [weight for _, weight in raised] == [0, 50, 100]
    assert closed.until <= raised[-1][0]


@pytest.mark.parametrize(("at_end", "state"), [("rollback", "failed"), ("finish", "success")])
def test_or_it_goes_back_or_on(
    rollout: Rollout, closed: Closed, include: Path, cluster: FakeCluster, at_end: str, state: str
) -> None:
    edit(include, at_window_end=at_end)
    run = rollout(before={"step_2.shift": lambda: closed.now_for(600.0)})
    assert run.state == state
    if at_end == "rollback":
        assert run.ran("rollback")
        assert "this plan goes back then" in run.note
        assert cluster.events[-1] == "RolledBack"


def test_what_can_never_finish_is_refused_by_preflight(
    rollout: Rollout, include: Path, cluster: FakeCluster
) -> None:
    edit(include, blackouts=TODAY)
    run = rollout()
    assert run.states["preflight"] == "failed"
    assert not cluster.writes


def test_an_override_moves_at_any_time_and_stands_in_the_report(rollout: Rollout, include: Path) -> None:
    edit(include, blackouts=TODAY)
    run = rollout(override_windows="the old servers melt")
    assert run.state == "success"
    assert "the old servers melt" in run.note
