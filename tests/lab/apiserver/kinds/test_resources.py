"""The catalogue of what is served."""

from __future__ import annotations

from lab.apiserver.kinds.resources import version_rank


def test_versions_rank_by_maturity() -> None:
    versions = ["v1alpha1", "foo", "v1", "v2beta1", "v2", "v1beta2", "v1beta1"]
    assert sorted(versions, key=version_rank) == [
        "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1", "foo"
    ]  # fmt: skip
