"""A lease is renewed when there is news, else every few seconds; and read when it might be another's."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.limits import LEASE_RENEWAL
from inference_rollouts.core.routing.watch import LEASES, SEEN, lease_seconds, watch_of
from inference_rollouts.rollout.watching import Watcher
from tests.support.steps import Step


@pytest.fixture
def clock() -> list[float]:
    return [2000.0]


@pytest.fixture
def step(clock: list[float]) -> Step:
    return Step(clock=lambda: clock[0])


def test_a_lease_of_ours_is_not_read_while_it_counts(
    step: Step, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = step.cluster
    reads: list[str] = []
    writes: list[float] = []
    find, apply = cluster.find, cluster.apply

    def finding(api: str, kind: str, name: str) -> Any:
        reads.append(kind)
        return find(api, kind, name)

    def applying(lease: Any, **how: Any) -> Any:
        writes.append(clock[0])
        read = list(reads)
        applied = apply(lease, **how)
        reads[:] = read  # not those of the fake itself
        return applied

    monkeypatch.setattr(cluster, "find", finding)
    monkeypatch.setattr(cluster, "apply", applying)
    watcher, token = Watcher(cluster, "us"), step.run.frozen.token
    [claim] = step.run.traffic.claims()
    reads.clear()
    for _ in range(10):
        watcher.renew([cluster.route], token)
        clock[0] += LEASE_RENEWAL / 2
    assert (len(writes), reads) == (5, ["Lease"])
    clock[0] += lease_seconds(claim)
    watcher.renew([cluster.route], token)
    assert reads == ["Lease", "Lease"]
    watch = watch_of(find("coordination.k8s.io/v1", "Lease", "httproute-routes-to-llm"))
    assert watch
    assert (watch.holder, watch.acquired, watch.renewed) == ("us", 2000.0, clock[0])


def test_what_was_seen_of_very_many_pods_is_on_one_lease(step: Step) -> None:
    """Of forty routes, and pools of three hundred pods, it was written forty times every ten seconds."""
    cluster, token = step.cluster, step.run.frozen.token
    others = [
        {**cluster.route, "metadata": {**cluster.route["metadata"], "name": f"route-{n}"}} for n in (1, 2)
    ]
    Watcher(cluster, "us").renew([cluster.route, *others], token, seen=lambda: "what was seen")
    leases = cluster.select("coordination.k8s.io/v1", "Lease", LEASES)
    told = [lease["metadata"]["name"] for lease in leases if SEEN in lease["metadata"]["annotations"]]
    assert (len(leases), told) == (3, ["httproute-routes-to-llm"])
