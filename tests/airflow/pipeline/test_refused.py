"""A run that preflight refuses says so where people look first, and touches nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster

pytestmark = pytest.mark.usefixtures("database")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"weights": [0]}, "weights.0: Input should be greater than or equal to 1"),
        ({"canary": "A b"}, "canary: must be letters, digits"),
    ],
)
def test_a_bad_parameter_is_explained_in_the_note(
    rollout: Rollout, cluster: FakeCluster, params: dict[str, Any], words: str
) -> None:
    before = copy.deepcopy(cluster.objects)
    run = rollout(**params)
    assert run.state == "failed"
    assert (run.states["preflight"], run.states["report"]) == ("failed", "failed")
    assert run.states["rollback"] == "skipped"
    [first] = run.note.splitlines()
    assert ": not started** by task preflight. The parameters are invalid: " in first
    assert words in first
    assert first.endswith("Now the route was never touched.")
    assert cluster.objects == before


def test_so_is_what_the_cluster_lacks(rollout: Rollout, cluster: FakeCluster) -> None:
    cluster.scale("llm-pool", 0)
    run = rollout()
    assert "**llm-pool -> llm-pool-version-2: not started** by task preflight. " in run.note
    assert "has no ready pod, so it could not take traffic back" in run.note
