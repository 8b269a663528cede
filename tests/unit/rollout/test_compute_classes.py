"""Nodes by compute class: applied with the pods, kept by who created it, nobody else's touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inference_rollouts.core.errors import (
    ClusterRefused,
)
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.rollout.nodes import Provisioner, provisioner_of
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.nodes import CLASS, planned
from tests.support.plans import CANARY, RUN


def compute_class(cluster: FakeCluster) -> Any:
    return cluster.objects.get(("ComputeClass", CANARY))


Brings = Callable[..., Provisioner]
Classes = tuple[FakeCluster, Brings]


@pytest.fixture
def classes() -> Classes:
    """A cluster that serves compute classes, and a provisioner by run."""
    cluster = FakeCluster()
    cluster.served.add(("cloud.google.com/v1", "ComputeClass"))

    def brings(run: str | None = RUN, **nodes: Any) -> Provisioner:
        return provisioner_of(fake_clients(cluster), planned(CLASS | nodes), CANARY, run)

    return cluster, brings


def test_a_compute_class_is_applied_and_its_nodes_are_not_waited_for(classes: Classes) -> None:
    cluster, brings = classes
    brings().check()
    assert not cluster.writes
    brings().request()
    live = compute_class(cluster)
    assert live["spec"]["priorities"] == [
        {"gpu": {"type": "nvidia-l4", "count": 8, "driverVersion": "latest"}}
    ]
    assert live["spec"]["nodePoolAutoCreation"] == {"enabled": True}
    assert brings().readiness().phase is Phase.READY


def test_a_compute_class_is_deleted_only_by_the_run_that_created_it_or_when_retired(classes: Classes) -> None:
    cluster, brings = classes
    brings("first/run").request()
    brings().request()
    assert brings().take_back().phase is Phase.READY
    assert compute_class(cluster)
    brings("first/run").take_back()
    assert compute_class(cluster) is None
    brings().request()
    brings(None).take_back()
    assert compute_class(cluster) is None


def test_somebody_elses_compute_class_is_refused_and_stays(classes: Classes) -> None:
    cluster, brings = classes
    cluster.put("cloud.google.com/v1", "ComputeClass", {"metadata": {"name": CANARY}, "spec": {}})
    with pytest.raises(ClusterRefused, match="not this plan's"):
        brings().request()
    brings(None).take_back()
    assert compute_class(cluster)
    assert not cluster.writes


def test_a_compute_class_that_is_named_must_exist_and_is_left_alone(classes: Classes) -> None:
    cluster, brings = classes
    nodes = {"name": "shared", "machines": []}
    with pytest.raises(ClusterRefused, match="no ComputeClass shared"):
        brings(**nodes).check()
    cluster.put("cloud.google.com/v1", "ComputeClass", {"metadata": {"name": "shared"}, "spec": {}})
    brings(**nodes).request()
    assert brings(**nodes).readiness().phase is Phase.READY
    brings(None, **nodes).take_back()
    assert ("ComputeClass", "shared") in cluster.objects
    assert not cluster.writes


def test_an_unhealthy_compute_class_is_waited_for_with_its_words(classes: Classes) -> None:
    cluster, brings = classes
    brings().request()
    condition = {"type": "Health", "status": "False", "reason": "NodePoolsMissing", "message": "none match"}
    compute_class(cluster)["status"] = {"conditions": [condition]}
    answer = brings().readiness()
    assert (answer.phase, "none match" in answer.message) == (Phase.WAITING, True)


def test_a_cluster_without_compute_classes_is_refused() -> None:
    with pytest.raises(ClusterRefused, match="serves no ComputeClass"):
        provisioner_of(fake_clients(FakeCluster()), planned(CLASS), CANARY, RUN).check()
