"""A plan of six lines rolls a pool as people run it, with policies, autoscalers, a budget and filters."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients.include import load_plan
from inference_rollouts.core.objects.k8s import K8sObject, fields_of, labels_of
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.objects.succession import renamed
from inference_rollouts.dag import build_dag
from tests.support.airflow import POLL, Run, run_dag, use
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.include import edit
from tests.support.real_pool import CANARY, LABELS, STABLE, real_pool, servers

PLAN = f"""
kind: base-model
stable: {STABLE}
canary: {CANARY}
workload: {{like: stable, image: "vllm/vllm-openai:v0.32.0"}}
steps: [{{weight: 10, bake: 5m}}, {{weight: 100, bake: 5m}}]
"""
QUICK: dict[str, Any] = {
    "initial_delay": 0,
    "without_comparison": True,
    "analysis": {"interval": "250ms", "scrape_delay": 0, "progress_deadline": "10s", "margin": None},
}
"""What a test has no time for."""

RollOut = Callable[..., Run]


@pytest.fixture
def roll_out(include: Path, quick_runner: None, database: None, monkeypatch: pytest.MonkeyPatch) -> RollOut:
    monkeypatch.setattr("inference_rollouts.operators.traffic.READINESS_POLL", POLL)
    path = include.with_name("chat.yaml")
    path.write_text(PLAN)
    assert load_plan(path).name == "chat", "it is a whole plan"
    edit(path, **QUICK)

    def run(cluster: FakeCluster, weights: list[int], **failing: float) -> Run:
        prometheus = FakePrometheus(cluster, failing=failing)
        use(fake_clients(cluster, prometheus=prometheus, servers=servers()), monkeypatch)
        return run_dag(build_dag(load_plan(path)), {"weights": weights, "bake": "300ms"})

    return run


def test_it_is_promoted_and_nothing_but_the_image_differs(roll_out: RollOut) -> None:
    cluster = real_pool()
    run = roll_out(cluster, [100])
    assert run.state == "success", run.note
    stable, canary = cluster.route["spec"]["rules"][0]["backendRefs"]
    assert (stable.pop("weight"), canary.pop("weight")) == (0, 100)
    assert canary == stable | {"name": CANARY}, "port and filters too"
    assert set(differences(cluster)) == {
        "Deployment spec.template.spec.containers[1].image",
        "Deployment spec.template.metadata.labels.inference-pool",  # for its metrics
        "Deployment spec.progressDeadlineSeconds",  # as long as the rollout waits
        "Service spec.clusterIP",  # the cluster's to give
        "TeapotPolicy spec.targetRefs[1].group",  # a policy of others too is copied for the canary alone
        "TeapotPolicy spec.targetRefs[1].kind",
        "TeapotPolicy spec.targetRefs[1].name",
        "TeapotPolicy spec.targetRefs[0].group",
        "TeapotPolicy spec.targetRefs[0].kind",
        "TeapotPolicy spec.targetRefs[0].name",
    }


def test_it_is_rolled_back_and_all_of_stable_is_as_it_was(roll_out: RollOut) -> None:
    cluster = real_pool()
    before = copy.deepcopy(cluster.objects)
    run = roll_out(cluster, [50, 100], **{CANARY: 0.2})
    assert run.states["rollback"] == "success", run.note
    assert {key: cluster.objects[key].get("spec") for key in before} == {
        key: obj.get("spec") for key, obj in before.items()
    }


def differences(cluster: FakeCluster) -> Iterator[str]:
    """Each field in which what the rollout made differs from what it was made of, but for names."""
    ours = owner_labels("chat").items()
    stables = {key: obj for key, obj in cluster.objects.items() if not ours <= labels_of(obj).items()}
    made = {key: obj for key, obj in cluster.objects.items() if ours <= labels_of(obj).items()}
    assert len(made) >= 14
    for (kind, name), obj in made.items():
        [old] = [each for (k, n), each in stables.items() if k == kind and _new_name(n) == name]
        before, after = (dict(fields_of(_content(each))) for each in (old, obj))
        for field in before.keys() | after.keys():
            if before.get(field) != after.get(field):
                yield f"{kind} {field}"


def _new_name(name: str) -> str:
    return CANARY if name == STABLE else renamed(name, STABLE, CANARY)


def _content(obj: K8sObject) -> Any:
    """All that people write of an object, in names of stable's."""
    parts = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    text = json.dumps(parts).replace(CANARY, STABLE).replace(json.dumps(LABELS["app"]), json.dumps(STABLE))
    return json.loads(text)
