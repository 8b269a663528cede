"""GKE's policies of a new pool: created where served, missed where nobody creates them, waited for."""

from __future__ import annotations

import pytest
import yaml

from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.readiness import Phase, policy_readiness

from tests.support.fake_cluster import FakeCluster
from .test_preflight import preflight

GKE = "networking.gke.io/v1"
KINDS = ["HealthCheckPolicy", "GCPBackendPolicy"]
pytestmark = pytest.mark.usefixtures("database")


def on_gke(cluster):
    cluster.served |= {(GKE, kind) for kind in KINDS}
    return cluster


def without(include, kind):
    path = include.parents[1] / "manifests/40-gke.yaml"
    kept = [doc for doc in yaml.safe_load_all(path.read_text()) if doc["kind"] != kind]
    path.write_text(yaml.safe_dump_all(kept))


def test_a_pool_gets_its_policies_where_they_are_served():
    kinds = [manifest["kind"] for manifest in preflight(on_gke(FakeCluster())).manifests]
    assert set(KINDS) <= set(kinds)
    assert not set(KINDS) & {manifest["kind"] for manifest in preflight(FakeCluster()).manifests}


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_policy_is_refused_before_anything_is_created(include, kind):
    without(include, kind)
    preflight(FakeCluster())
    with pytest.raises(ClusterRefused, match=f"serves {kind}, and no manifest has one"):
        preflight(on_gke(FakeCluster()))


@pytest.mark.parametrize(
    ("conditions", "phase"),
    [
        ([], Phase.READY),
        ([{"type": "Attached", "status": "True", "reason": "Attached"}], Phase.READY),
        ([{"type": "Attached", "status": "False", "reason": "Conflict", "message": "two"}], Phase.WAITING),
        ([{"type": "Other", "status": "False"}], Phase.READY),
    ],
)
def test_a_policy_is_waited_for_while_it_is_refused(conditions, phase):
    policy = {"kind": KINDS[0], "metadata": {"name": "x"}, "status": {"conditions": conditions}}
    assert policy_readiness(policy).phase is phase


def test_a_policy_that_is_not_attached_keeps_the_pool_from_traffic(rollout, include, cluster):
    plan = yaml.safe_load(include.read_text()) | {"deadlines": {"route": "2s"}}
    include.write_text(yaml.safe_dump(plan))
    put = on_gke(cluster).put

    def refused(api_version, kind, thing):
        if kind in KINDS:
            refusal = {"type": "Attached", "status": "False", "reason": "Conflict", "message": "another one"}
            thing["status"] = {"conditions": [refusal]}
        put(api_version, kind, thing)

    cluster.put = refused
    run = rollout()
    assert run.states["deploy_pool"] == "failed"
    assert cluster.weights() == {"llm-pool": 1}
    assert "is not attached (Conflict: another one)" in run.note
