"""What the console reads of real runs: the whole pipeline in Airflow's own runner, then the API's source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.airflow import Rollout
from tests.support.fake_prometheus import FakePrometheus
from tests.support.plans import CANARY

DAG = "rollout_llm"


@pytest.fixture(autouse=True)
def known(database: None) -> Iterator[None]:
    """Airflow's database knows the DAG, as its parser would have told it, with the tags of rollouts."""
    from airflow.models.dag import DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    yield
    with create_session() as session:
        session.execute(delete(DagTag).where(DagTag.dag_id == DAG))


def tag() -> None:
    from airflow.models.dag import DagTag
    from airflow.utils.session import create_session

    with create_session() as session:
        for name in ("inference-rollout", "base-model"):
            session.merge(DagTag(name=name, dag_id=DAG))


def newest() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The source, its newest line that ended, and that run's page."""
    from inference_rollouts.console.source import RolloutSource
    from inference_rollouts.console.world import AirflowWorld

    tag()
    source = RolloutSource(AirflowWorld())
    line = source.overview()["history"][0]
    one = source.one(line["dag"], line["run"])
    assert one is not None
    return source, line, one


def test_a_rollout_that_was_promoted_is_seen_from_its_start_to_its_end(rollout: Rollout) -> None:
    rollout()
    source, line, one = newest()
    assert (line["standing"], line["percent"], line["canary"]) == ("promoted", 100, CANARY)
    assert [rung["state"] for rung in one["ladder"]] == ["passed", "passed"]
    assert [rung["percent"] for rung in one["ladder"]] == [50, 100]
    assert {"raise", "passed", "promoted"} <= {event["kind"] for event in one["events"]}
    assert one["report"].startswith("**llm-pool -> ")
    assert one["cost"]["requests"] > 0
    series = source.series(line["dag"], line["run"])
    assert len(series["times"]) == len(series["requests"]["canary"]) > 1
    assert series["asked"][-1][1] == 1.0
    assert {each["time"] for each in one["record"]} >= {time for time, _ in series["evidence"]}
    again = source.rejudged(line["dag"], line["run"], 0.2)
    assert (again["alpha"], again["was"]["verdict"]) == (0.2, "advance")


def test_a_rollout_that_went_back_says_why(rollout: Rollout, prometheus: FakePrometheus) -> None:
    prometheus.failing[CANARY] = 0.4
    rollout()
    _, line, one = newest()
    assert (line["standing"], line["percent"]) == ("rolled back", 0)
    assert one["ladder"][0]["state"] == "failed"
    assert one["ladder"][0]["verdict"] == "rollback"
    assert one["ladder"][0]["reason"] in line["words"]
    assert one["commands"] == []


def test_who_only_looked_ahead_is_told_so(rollout: Rollout) -> None:
    rollout(dry_run=True)
    _, line, one = newest()
    assert line["standing"] == one["line"]["standing"] == "dry run"


def test_what_is_no_rollout_is_not_there_nor_what_ended_later(rollout: Rollout) -> None:
    rollout()
    source, line, _ = newest()
    assert source.one("rollout_llm", "no such run") is None
    assert source.series("other_dag", line["run"]) is None
    assert source.plan("other_dag") is None
    for before, there in ((line["ended"] + 1, True), (line["ended"], False)):
        assert (line["run"] in [each["run"] for each in source.history(before)["history"]]) is there
