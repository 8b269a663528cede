"""On GKE a new pool gets its policies, and is refused without them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.objects.api_groups import POLICY_KINDS
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight
from tests.support.include import copy_of_include
from tests.support.other_clusters import on_gke

KINDS = sorted(POLICY_KINDS)


def test_a_pool_gets_its_policies_where_they_are_served() -> None:
    kinds = [manifest["kind"] for manifest in preflight(on_gke(FakeCluster())).manifests]
    assert set(KINDS) <= set(kinds)
    assert not set(KINDS) & {manifest["kind"] for manifest in preflight(FakeCluster()).manifests}


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_policy_is_refused_before_anything_is_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = copy_of_include(tmp_path, monkeypatch) / "manifests" / "40-gke.yaml"
    kept = [doc for doc in yaml.safe_load_all(path.read_text()) if doc["kind"] != kind]
    path.write_text(yaml.safe_dump_all(kept))
    preflight(FakeCluster())
    with pytest.raises(ClusterRefused, match=f"serves {kind}, and no manifest has one"):
        preflight(on_gke(FakeCluster()))
