"""A dry run says what would be done, and does nothing."""

from __future__ import annotations

import copy

import pytest

from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.read_only_cluster import read_only

pytestmark = pytest.mark.usefixtures("database")


def test_it_ends_well_with_its_forecast_as_note(rollout: Rollout, cluster: FakeCluster) -> None:
    before = copy.deepcopy(cluster.objects)
    read_only(cluster)
    run = rollout(dry_run=True)
    assert run.state == "success"
    assert run.ran("preflight", "report")
    others = {state for task, state in run.states.items() if task not in ("begin", "preflight", "report")}
    assert others == {"skipped"}
    assert "**llm-pool -> llm-pool-version-2: dry run**, nothing was written." in run.note.splitlines()[0]
    assert cluster.objects == before
    assert not run.announced


def test_what_it_refuses_is_refused_as_ever(rollout: Rollout, cluster: FakeCluster) -> None:
    cluster.scale("llm-pool", 0)
    run = rollout(dry_run=True)
    assert run.state == "failed"
    assert "not started** by task preflight." in run.note
