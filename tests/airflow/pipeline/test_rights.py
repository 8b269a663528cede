"""Every right in docs/rbac.yaml is needed by a task, none is missing, and docs say which task needs which."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from airflow.sdk import get_current_context

from inference_rollouts.clients.include import load_plan
from inference_rollouts.core.objects.api_groups import GATEWAY_API, GKE_API, POLICY_KINDS
from inference_rollouts.core.versions.version import canary_name
from inference_rollouts.dag import build_dag
from inference_rollouts.guardian_dag import build_guardian_dag
from inference_rollouts.retire_dag import build_retire_dag
from tests.support.airflow import Run, run_dag, use
from tests.support.alias import alias_cluster, old_alias_cluster, with_picker
from tests.support.clients import fake_clients
from tests.support.fake_cluster import OBJECTIVE_API, FakeCluster
from tests.support.fake_pickers import FakePickers
from tests.support.fake_prometheus import FakePrometheus
from tests.support.fake_servers import BASE, FIRST, MODEL, FakeServers
from tests.support.include import edit
from tests.support.left_behind import Activity
from tests.support.nodes import CLASS
from tests.support.other_clusters import OLD, bound, old_cluster, out_of_stock
from tests.support.other_workloads import add
from tests.support.plans import CANARY, ROOT, STABLE, food_review
from tests.support.rights import GuardedCluster, GuardedView, Rights, table
from tests.support.versions import version, versioned

OPERATIONS = ROOT / "docs" / "operations.md"
QUICK = {
    "steps": [{"weight": 50, "bake": "500ms"}, {"weight": 100, "bake": "250ms"}],
    "initial_delay": 0,
    "analysis": {"interval": "250ms", "scrape_delay": 0, "progress_deadline": "10s", "margin": None},
}


def running() -> str:
    """The task that runs now, or the triggerer in which it waits."""
    try:
        return str(get_current_context()["ti"].task_id)
    except RuntimeError:
        return "triggerer"


@contextmanager
def edited(path: Path, **changes: Any) -> Iterator[None]:
    """A plan with other values for a while; nodes are replaced as a whole."""
    before = path.read_text()
    edit(path, **{key: None for key in changes if key == "nodes"})
    edit(path, **changes)
    try:
        yield
    finally:
        path.write_text(before)


class Installation:
    """An Airflow whose identity has the rights of the docs, and the clusters that it works on in turn."""

    def __init__(self, include: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.include, self.monkeypatch, self.rights = include, monkeypatch, Rights(running)

    def roll_out(self, cluster: FakeCluster, prometheus: Any = None, conf: Any = None, **changes: Any) -> Run:
        """One run of the plan llm, with these parameters."""
        with edited(self.include, **changes):
            store = prometheus or FakePrometheus(cluster)
            return self._run(cluster, store, build_dag, self.include, conf)

    def roll_out_adapter(self, cluster: FakeCluster) -> Run:
        path = self.include.with_name("food-review.yaml")
        path.write_text(yaml.safe_dump(food_review()))
        edit(path, **QUICK)
        pickers = FakePickers(cluster)
        pickers.query("", time.time() - 10)
        return self._run(cluster, pickers, build_dag, path)

    def retire(self, cluster: FakeCluster, name: str, plan: str = "llm", **changes: Any) -> Run:
        path = self.include.with_name(f"{plan}.yaml")
        quick, what = {"interval": "50ms", "scrape_delay": 0}, "pool" if plan == "llm" else "adapter"
        with edited(path, retention={"keep": 0, "longest_stream": 0.3}, analysis=quick, **changes):
            return self._run(cluster, Activity(cluster), build_retire_dag, path, {what: name})

    def guard(self, cluster: FakeCluster) -> Run:
        """One run of the guardian, which has a moment."""
        with self.monkeypatch.context() as patch:
            patch.setattr("inference_rollouts.operators.guard.WATCH", 0.0)
            return self._run(
                cluster, FakePrometheus(cluster), lambda plan: build_guardian_dag([plan]), self.include
            )

    def _run(
        self,
        cluster: FakeCluster,
        prometheus: Any,
        build: Callable[..., Any],
        path: Path,
        conf: dict[str, Any] | None = None,
    ) -> Run:
        guarded: Any = GuardedCluster(cluster, self.rights)
        clients = fake_clients(guarded, prometheus=prometheus, servers=FakeServers(FIRST))
        use(replace(clients, view=cast(Any, GuardedView(guarded))), self.monkeypatch)
        return run_dag(build(load_plan(path)), conf)


@pytest.fixture
def installed(
    include: Path, quick_runner: None, database: None, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    monkeypatch.setattr("inference_rollouts.operators.traffic.READINESS_POLL", 0.05)
    monkeypatch.setattr("inference_rollouts.operators.retire.RETIREMENT_POLL", 0.1)
    monkeypatch.setattr("inference_rollouts.operators.retire.RETIREMENT_WAIT", timedelta(seconds=20))
    return Installation(include, monkeypatch)


def scaled(cluster: FakeCluster) -> FakeCluster:
    """An autoscaler of each kind would make stable smaller."""
    for api, kind, bounds in (
        ("autoscaling/v2", "HorizontalPodAutoscaler", {"minReplicas": 1, "maxReplicas": 8}),
        ("keda.sh/v1alpha1", "ScaledObject", {"minReplicaCount": 1}),
    ):
        cluster.served.add((api, kind))
        reference = {"kind": "Deployment", "name": STABLE}
        cluster.put(
            api, kind, {"metadata": {"name": "more"}, "spec": {"scaleTargetRef": reference, **bounds}}
        )
    return cluster


def guarded(cluster: FakeCluster) -> FakeCluster:
    """Stable has a budget and a network policy."""
    labels = {"matchLabels": {"inference-pool": STABLE}}
    for api, kind, field in (
        ("policy/v1", "PodDisruptionBudget", "selector"),
        ("networking.k8s.io/v1", "NetworkPolicy", "podSelector"),
    ):
        cluster.served.add((api, kind))
        cluster.put(api, kind, {"metadata": {"name": STABLE}, "spec": {field: labels}})
    return cluster


def of_sets(cluster: FakeCluster) -> FakeCluster:
    """Stable's servers are of a StatefulSet and a LeaderWorkerSet."""
    spec = cluster.objects.pop(("Deployment", STABLE))["spec"]
    spec["template"]["spec"] = {"containers": [{"name": "vllm", "image": "vllm:1", "args": [MODEL]}]}
    add(cluster, "StatefulSet", STABLE, spec)
    add(cluster, "LeaderWorkerSet", f"{STABLE}-groups", spec)
    return cluster


def google(cluster: FakeCluster) -> FakeCluster:
    """GKE, with all that plans may ask of it."""
    cluster.served |= {(GKE_API, kind) for kind in POLICY_KINDS}
    cluster.served |= {
        (GATEWAY_API, "GRPCRoute"),
        ("monitoring.googleapis.com/v1", "PodMonitoring"),
        ("cloud.google.com/v1", "ComputeClass"),
    }
    return cluster


def new_cluster() -> FakeCluster:
    """With a rewrite that is bound to the stable pool."""
    cluster = guarded(scaled(google(FakeCluster())))
    cluster.served.add((OBJECTIVE_API, "InferenceModelRewrite"))
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", _rewrite(OBJECTIVE_API))
    return cluster


def older_cluster() -> FakeCluster:
    """With an InferenceModel, a rewrite and an objective that are bound to the stable pool."""
    cluster = old_cluster()
    cluster.served.add((OLD, "InferenceModelRewrite"))
    cluster.put(OLD, "InferenceModelRewrite", _rewrite(OLD))
    cluster.put(OLD, "InferenceObjective", bound("InferenceObjective", OLD, "urgent", priority=1))
    return cluster


def _rewrite(api: str) -> dict[str, Any]:
    return bound("InferenceModelRewrite", api, "names", rules=[{"targets": [{"modelRewrite": BASE}]}])


def test_each_right_is_used_by_the_tasks_that_docs_name_and_none_is_missing(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = {"preview": {}, "mirror": {"percent": 25, "bake": "500ms"}}
    new = new_cluster()
    run = installed.roll_out(new, **tried)
    assert run.state == "success", (run.note, installed.rights.refused)
    assert installed.retire(new, CANARY).state == "failed", "it serves"
    named, what = versioned(source={"from": "parameter"}), {"version": str(version("v1"))}
    run = installed.roll_out(new_cluster(), conf=what, **named)
    assert run.state == "success", (run.note, installed.rights.refused)
    bad = new_cluster()
    failing = FakePrometheus(bad, failing={canary_name("llm-{version}", version("v1")): 0.2})
    assert installed.roll_out(bad, failing, what, **named).states["rollback"] == "success"
    bad_ones: list[tuple[FakeCluster, dict[str, Any]]] = [
        (new_cluster(), {"nodes": CLASS}),
        (older_cluster(), {}),
        (of_sets(FakeCluster()), {"workload": "like-stable"}),
    ]
    for bad, changes in bad_ones:
        failing = FakePrometheus(bad, failing={CANARY: 0.2})
        assert installed.roll_out(bad, failing, **changes).states["rollback"] == "success"
        assert installed.retire(bad, CANARY, **changes).state == "success"
    for cluster in (new, bad):
        assert installed.guard(cluster).state == "success"
    short = out_of_stock(google(FakeCluster()), monkeypatch, CANARY)
    run = installed.roll_out(short, nodes=CLASS, deadlines={"nodes": "500ms"})
    assert run.states["deploy_pool"] == "failed"
    for cluster in (with_picker(alias_cluster()), with_picker(old_alias_cluster())):
        assert installed.roll_out_adapter(cluster).state == "success"
        assert installed.retire(cluster, "food-review-1", "food-review").state == "success"
    assert installed.rights.refused == []
    assert not installed.rights.unused, "\n".join(map(str, sorted(installed.rights.unused)))
    assert table(installed.rights) in OPERATIONS.read_text(), table(installed.rights)
    assert STABLE in new.weights()
