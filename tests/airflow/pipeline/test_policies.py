"""GKE's policies of a new pool: created where served, missed where nobody creates them, waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.core.objects.api_groups import POLICY_KINDS
from tests.support.airflow import Rollout
from tests.support.fake_cluster import FakeCluster
from tests.support.include import edit
from tests.support.other_clusters import on_gke


def test_a_policy_that_is_not_attached_keeps_the_pool_from_traffic(
    rollout: Rollout, include: Path, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(include, deadlines={"route": "500ms"})
    put = on_gke(cluster).put

    def refused(api_version: str, kind: str, obj: dict[str, Any]) -> None:
        if kind in POLICY_KINDS:
            refusal = {"type": "Attached", "status": "False", "reason": "Conflict", "message": "another one"}
            obj["status"] = {"conditions": [refusal]}
        put(api_version, kind, obj)

    monkeypatch.setattr(cluster, "put", refused)
    run = rollout()
    assert run.states["deploy_pool"] == "failed"
    assert cluster.weights() == {"llm-pool": 1}
    assert "is not attached (Conflict: another one)" in run.note
