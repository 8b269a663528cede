"""The guardian needs the rights that its manifests give it, and each of them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.guardian import Guardian
from inference_rollouts.rollout.run import Run
from tests.support.alias import OLD_API, alias_cluster, old_alias_cluster
from tests.support.clients import fake_clients
from tests.support.fake_cluster import OBJECTIVE_API, FakeCluster
from tests.support.other_clusters import OLD
from tests.support.other_workloads import become
from tests.support.plans import CANARY, STABLE, frozen_food_review
from tests.support.rights import GUARDIAN, GuardedCluster, Rights
from tests.support.routes import rewrite
from tests.support.steps import Step

SCALERS = {"HorizontalPodAutoscaler": "autoscaling/v2", "ScaledObject": "keda.sh/v1alpha1"}


def pool_rollout(scaler: str, kind: str = "Deployment") -> FakeCluster:
    """A rollout at 50 % over a pool of our own, with a picker and an autoscaler, after an alarm.

    Its servers are of this kind.
    """

    def prepare(cluster: FakeCluster) -> None:
        become(cluster, kind)
        cluster.served.add((SCALERS[scaler], scaler))
        bounds = {"minReplicas": 1, "maxReplicas": 8} if scaler != "ScaledObject" else {}
        reference = {"kind": "Deployment", "name": STABLE}
        obj = {"metadata": {"name": "scaler"}, "spec": {"scaleTargetRef": reference, **bounds}}
        cluster.put(SCALERS[scaler], scaler, obj)
        cluster.objects[kind, STABLE]["metadata"]["labels"] = owner_labels("llm", STABLE)

    step = Step(before=prepare)
    picker = {"name": "picker", "kind": "Service", "port": {"number": 9002}, "failureMode": "FailOpen"}
    step.cluster.objects["InferencePool", STABLE]["spec"]["endpointPickerRef"] = picker
    step.run.traffic.way_back.retreat("an alarm", 50)
    for number in range(2):
        del step.cluster.objects["Pod", f"{STABLE}-{number}"]
    step.cluster.objects[kind, STABLE]["spec"]["replicas"] = 1
    return step.cluster


def adapter_rollout(cluster: FakeCluster, api: str, kind: str) -> FakeCluster:
    """One that has claimed what splits the alias, and is returning."""
    frozen = replace(
        frozen_food_review(), token="t", version="v1", targets=(Target(api, kind, "food-review"),)
    )
    run = Run(frozen, fake_clients(cluster), kind_of(frozen.plan))
    run.attach()
    run.traffic.way_back.retreat("an alarm")
    return cluster


def older_rewrites() -> FakeCluster:
    cluster = FakeCluster()
    cluster.served |= {(OLD, "InferenceModelRewrite"), (OLD, "InferencePool")}
    cluster.put(OLD, "InferenceModelRewrite", rewrite("food-review", "food-review-1"))
    return cluster


def look(cluster: FakeCluster, rights: Rights) -> None:
    guarded: Any = GuardedCluster(cluster, rights)
    guardian, now = Guardian(guarded, None, "guardian", at_once=1), time.time()
    for later in (100.0, 1000.0):
        cluster.clock = lambda later=later: now + later  # type: ignore[misc]
        guardian.round()


def test_none_is_missing_and_none_is_idle() -> None:
    rights = Rights(lambda: "guardian", GUARDIAN)
    scenes = [
        pool_rollout("HorizontalPodAutoscaler"),
        pool_rollout("ScaledObject"),
        pool_rollout("HorizontalPodAutoscaler", "StatefulSet"),
        pool_rollout("HorizontalPodAutoscaler", "LeaderWorkerSet"),
        adapter_rollout(alias_cluster(), OBJECTIVE_API, "InferenceModelRewrite"),
        adapter_rollout(older_rewrites(), OLD, "InferenceModelRewrite"),
        adapter_rollout(old_alias_cluster(), OLD_API, "InferenceModel"),
    ]
    first, second, *_ = scenes
    first.served.add((OLD, "InferencePool"))
    del first.objects["InferencePool", CANARY]
    del second.objects["Lease", "httproute-routes-to-llm"]
    for cluster in scenes:
        look(cluster, rights)
    assert rights.refused == []
    assert not rights.unused, "\n".join(map(str, sorted(rights.unused)))
