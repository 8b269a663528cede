"""Runs that end before they begin: too late, or with nothing new. They are green, and write nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.include import edit


@pytest.fixture
def by_schedule(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Runs of the tests count as those of a schedule from now on."""

    def count() -> None:
        monkeypatch.setattr("inference_rollouts.operators.base.BY_SCHEDULE", {"manual"})

    return count


def test_a_run_that_comes_too_late_is_green_and_has_written_nothing(
    rollout: Rollout, include: Path, cluster: FakeCluster, by_schedule: Callable[[], None]
) -> None:
    edit(include, schedule={"cron": "0 22 * * *", "timezone": "Europe/Berlin", "start_within": "0s"})
    by_schedule()
    run = rollout()
    assert run.state == "success"
    assert set(run.states.values()) == {"success", "skipped"}
    assert {task for task, state in run.states.items() if state == "success"} == {
        "begin",
        "preflight",
        "report",
    }
    assert not run.announced
    assert not cluster.writes
    assert "not started" in run.note
    assert "It was due at" in run.note


def test_a_plan_that_was_promoted_is_green_when_it_runs_again_and_says_that_nothing_is_new(
    rollout: Rollout, include: Path, cluster: FakeCluster
) -> None:
    edit(include, stable="current")
    first = rollout()
    assert first.ran("promote"), first.note
    writes = len(cluster.writes)
    again = rollout()
    assert again.state == "success"
    assert again.states["promote"] == again.states["rollback"] == "skipped"
    assert "there is nothing new" in again.note
    assert len(cluster.writes) == writes


def test_a_late_run_that_a_person_started_goes_on(rollout: Rollout, include: Path) -> None:
    edit(include, schedule={"cron": "0 22 * * *", "timezone": "Europe/Berlin", "start_within": "0s"})
    assert rollout().ran("promote")


def test_a_run_in_time_goes_on(rollout: Rollout, include: Path, by_schedule: Callable[[], None]) -> None:
    edit(include, schedule={"cron": "0 22 * * *", "timezone": "Europe/Berlin", "start_within": "1h"})
    by_schedule()
    assert rollout().ran("promote")
