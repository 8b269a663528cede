"""Nodes that a plan does not mean count for what pods want beside them, as the scheduler counts them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.objects.workload_kinds import servers_among
from inference_rollouts.rollout.checks import check_now
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import run_on

ZONE = "topology.kubernetes.io/zone"


@pytest.mark.parametrize(("zone", "phase"), [("a", Phase.WAITING), ("b", Phase.READY)])
def test_who_runs_in_the_same_zone_on_other_hardware_is_in_the_way(zone: str, phase: Phase) -> None:
    cluster = FakeCluster()
    here = cluster.objects["Node", "gpu-node-1"]
    here["metadata"]["labels"][ZONE] = "a"
    other = copy.deepcopy(here) | {"metadata": {"name": "cpu-node-1", "labels": {ZONE: zone}}}
    cluster.put("v1", "Node", other)
    noisy = {"metadata": {"name": "noisy", "labels": {"app": "noisy"}}, "spec": {"nodeName": "cpu-node-1"}}
    cluster.put("v1", "Pod", noisy | {"status": {"phase": "Running"}})
    run = run_on(cluster)
    manifests = copy.deepcopy(run.frozen.manifests)
    term = {"labelSelector": {"matchLabels": {"app": "noisy"}}, "topologyKey": ZONE}
    for each in servers_among(manifests):
        required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        each["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": required}
    assert check_now(replace(run, frozen=replace(run.frozen, manifests=manifests)), "nodes").phase is phase
