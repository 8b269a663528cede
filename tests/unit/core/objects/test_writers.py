"""Who else writes what a rollout moves is told by name, with what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.objects.writers import warnings

NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=UTC).timestamp()
LONG_AGO, LATELY = "2026-01-01T00:00:00Z", "2026-10-01T11:55:00Z"
RULES: dict[str, Any] = {"f:spec": {"f:rules": {}}}
PARENTS: dict[str, Any] = {"f:spec": {"f:parentRefs": {}}}


def route(*entries: dict[str, Any], **meta: Any) -> dict[str, Any]:
    return {"kind": "HTTPRoute", "metadata": {"name": "r", "managedFields": list(entries), **meta}}


def entry(manager: str, fields: Any = RULES, time: str = LONG_AGO, **more: Any) -> dict[str, Any]:
    return {"manager": manager, "fieldsV1": fields, "time": time, **more}


@pytest.mark.parametrize(
    ("manager", "words"),
    [
        ("argocd-controller", ["Argo CD (field manager argocd-controller) owns the rules of", "ignore"]),
        ("kustomize-controller", ["Flux (field manager", "kustomize.toolkit.fluxcd.io/reconcile=disabled"]),
        ("helm-controller", ["Flux's Helm controller", "suspend its HelmRelease"]),
        ("llmisvc-controller", ["The field manager llmisvc-controller owns the rules", "keep it from"]),
    ],
)  # fmt: skip
def test_whoever_owns_the_rules_is_named_with_what_to_do(manager: str, words: list[str]) -> None:
    (sentence,) = warnings(route(entry(manager)), NOW)
    assert all(word in sentence for word in words)


@pytest.mark.parametrize(
    "manager", ["inference-rollouts", "kubectl", "kubectl-client-side-apply", "kubectl-edit"]
)
def test_people_and_rollouts_are_no_other_writers(manager: str) -> None:
    assert warnings(route(entry(manager, time=LATELY)), NOW) == []


def test_a_tool_whose_rules_an_earlier_rollout_took_is_still_known() -> None:
    (sentence,) = warnings(route(entry("argocd-controller", PARENTS), entry("inference-rollouts")), NOW)
    assert "Argo CD (field manager argocd-controller) owns fields of HTTPRoute r" in sentence


def test_others_who_wrote_the_spec_count_while_it_is_recent() -> None:
    (sentence,) = warnings(route(entry("terraform", PARENTS, LATELY)), NOW)
    assert "terraform wrote, 5 minutes ago, HTTPRoute r" in sentence
    assert warnings(route(entry("terraform", PARENTS)), NOW) == []


@pytest.mark.parametrize(
    "harmless",
    [
        entry("gateway", time=LATELY, subresource="status"),
        entry("gateway", {"f:status": {}}, LATELY),
        entry("argocd-controller", {"f:metadata": {"f:labels": {}}}, LATELY),
    ],
)
def test_who_writes_status_or_metadata_undoes_no_weights(harmless: dict[str, Any]) -> None:
    assert warnings(route(harmless), NOW) == []


def test_each_writer_is_told_once() -> None:
    twice = [entry("helm", operation=each) for each in ("Apply", "Update")]
    assert len(warnings(route(*twice), NOW)) == 1


def test_the_controller_that_owns_a_route_is_named() -> None:
    owners = [
        {"kind": "LLMInferenceService", "name": "llama", "controller": True},
        {"kind": "Backup", "name": "b"},
    ]
    (sentence,) = warnings(route(ownerReferences=owners), NOW)
    assert "HTTPRoute r belongs to LLMInferenceService llama" in sentence
    assert "split by the fields of LLMInferenceService llama itself" in sentence


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just(LATELY),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["manager", "fieldsV1", "f:spec", "time", "subresource", "controller", "name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(odd, odd)
def test_no_metadata_however_odd_raises(managed: Any, owners: Any) -> None:
    assert isinstance(
        warnings({"kind": "HTTPRoute", "metadata": {"name": "r", "managedFields": managed,
                                                    "ownerReferences": owners}}, NOW), list)  # fmt: skip
