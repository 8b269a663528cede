"""A pool that is too small is refused before anything is created."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterRefused
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.freezing import preflight, refused
from tests.support.plans import llm


def work(**changes: Any) -> dict[str, Any]:
    return {**llm()["workload"], **changes}


def loaded(cluster: FakeCluster, load: float | None) -> FakePrometheus:
    return FakePrometheus(cluster, load=load)


@pytest.mark.parametrize(
    ("load", "changes", "words"),
    [
        (
            None,
            {"workload": work(replicas=2)},
            "have 2 replicas, 3 needed for 100 % of the requests (counted in",
        ),
        (180.0, {"capacity": {"stable_per_pod": 64}}, "Set workload.replicas to 4"),
        (120.0, {"workload": work(replicas=1)}, "120 each, 51 allowed. Set workload.replicas to 3"),
        (120.0, {"workload": work(args=[]), "capacity": {"per_pod": 45}}, "40 each, 36 allowed"),
        (None, {"capacity": {"per_pod": 32, "stable_per_pod": 64}}, "Set workload.replicas to 6"),
    ],
)
def test_a_canary_that_is_too_small_is_refused(
    load: float | None, changes: dict[str, Any], words: str
) -> None:
    cluster = FakeCluster()
    refused(ClusterRefused, words, cluster, prometheus=loaded(cluster, load), **changes)


def test_a_stable_pool_that_could_not_take_all_requests_is_refused() -> None:
    cluster = FakeCluster()
    words = "3 ready pods for 100 % of 90 requests in flight: 30 each, 20 allowed. Give it 5 pods"
    capacity = {"per_pod": 50, "stable_per_pod": 20}
    refused(ClusterRefused, words, cluster, prometheus=loaded(cluster, 90.0), capacity=capacity)


@pytest.mark.parametrize(
    ("load", "changes"),
    [
        (60.0, {"workload": work(replicas=2)}),
        (None, {"workload": work(replicas=2), "capacity": {"per_pod": 96, "stable_per_pod": 64}}),
    ],
)
def test_fewer_pods_are_enough_where_they_carry_more_or_little_is_asked(
    load: float | None, changes: dict[str, Any]
) -> None:
    cluster = FakeCluster()
    assert preflight(cluster, prometheus=loaded(cluster, load), **changes).stable_pods == 3


def test_what_another_cluster_has_in_flight_refuses_nothing() -> None:
    cluster = FakeCluster()
    prometheus = loaded(cluster, 150.0)
    prometheus.also = "theirs-"
    assert preflight(cluster, prometheus=prometheus).stable_pods == 3
    prometheus.load = 300.0
    refused(ClusterRefused, "100 % of 300 requests in flight", cluster, prometheus=prometheus)
