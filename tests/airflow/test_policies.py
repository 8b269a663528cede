"""GKE's policies of a new pool: created where served, missed where nobody creates them, waited for."""

from __future__ import annotations

import yaml

GKE = "networking.gke.io/v1"

KINDS = ["HealthCheckPolicy", "GCPBackendPolicy"]


def on_gke(cluster):
    cluster.served |= {(GKE, kind) for kind in KINDS}
    return cluster


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
