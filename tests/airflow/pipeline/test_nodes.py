"""Nodes in the whole pipeline: brought with the pods, or not to be had; new hardware keeps the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.other_clusters import out_of_stock

POOL = "llm-pool-version-2"

NODES = {"provisioner": "compute-class", "machines": [{"accelerator": "nvidia-l4", "count": 8}]}

STOCKOUT = "Node scale up in zones us-central1-a associated with this pod failed: GCE_STOCKOUT."

COMPUTE_CLASS = ("cloud.google.com/v1", "ComputeClass")


@pytest.fixture
def classes(include: Path, cluster: FakeCluster) -> FakeCluster:
    """The plan's nodes come with its pods, and soon or not at all."""
    value = yaml.safe_load(include.read_text()) | {"nodes": NODES, "deadlines": {"nodes": "500ms"}}
    include.write_text(yaml.safe_dump(value))
    cluster.served.add(COMPUTE_CLASS)
    return cluster


def test_nodes_that_come_with_the_pods_are_waited_for(rollout: Rollout, classes: FakeCluster) -> None:
    run = rollout()
    assert run.state == "success"
    assert classes.objects["ComputeClass", POOL]["spec"]["nodePoolAutoCreation"] == {"enabled": True}


def test_without_stock_the_rollout_ends_with_the_clusters_words_and_nothing_comes_later(
    rollout: Rollout, classes: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_stock(classes, monkeypatch, POOL, STOCKOUT)
    run = rollout()
    assert run.state == "failed"
    assert run.states["deploy_pool"] == "failed"
    assert "failed: GCE_STOCKOUT. No traffic was moved" in run.note
    assert ("ComputeClass", POOL) not in classes.objects
    assert classes.weights() == {"llm-pool": 1}
