"""Templates and values become objects; what is cloned; digests."""

import pytest

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.objects.ownership import is_ours
from inference_rollouts.core.run.manifests import clone_for, digest, is_wanted, manifest_values, owned, render
from tests.support.plans import llm_plan


def test_a_leaf_that_is_a_placeholder_keeps_the_type_of_its_value() -> None:
    assert render({"replicas": "${replicas}", "name": "${pool}-epp"}, {"replicas": 3, "pool": "llm"}) == {
        "replicas": 3,
        "name": "llm-epp",
    }


def test_a_list_value_is_spliced_into_the_list_around_it() -> None:
    assert render(["--a", "${args}", "--z"], {"args": ["--b", "--c"]}) == ["--a", "--b", "--c", "--z"]
    assert render(["--a", "${args}"], {"args": []}) == ["--a"]


def test_a_value_cannot_add_fields_or_placeholders() -> None:
    hostile = 'x"\nprivileged: true\n${other}'
    assert render({"image": "${image}"}, {"image": hostile}) == {"image": hostile}
    assert render({"arg": "--model=${image}"}, {"image": hostile}) == {"arg": f"--model={hostile}"}


def test_a_placeholder_without_value_is_refused() -> None:
    with pytest.raises(PlanInvalid, match="imgae"):
        render({"image": "${imgae}"}, {"image": "x"})


def test_ownership_is_labelled_and_directives_are_dropped() -> None:
    manifest = {
        "kind": "PodMonitoring",
        "metadata": {"name": "x", "annotations": {"inference-rollouts.dev/apply": "where-served"}},
    }
    mine = owned(manifest, "llm")
    assert "annotations" not in mine["metadata"]
    assert is_ours(mine, "llm")
    assert not is_ours(mine, "other")
    assert not is_ours(manifest, "llm")


V1, OLD = "inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2"


@pytest.mark.parametrize(
    ("directive", "api", "wanted"),
    [
        (None, V1, True),
        ("where-served", V1, True),
        ("where-served", "networking.gke.io/v1", False),
        ("like-stable", V1, True),
        ("like-stable", OLD, False),
    ],
)
def test_directives_choose_what_a_cluster_gets(directive: str | None, api: str, wanted: bool) -> None:
    notes = {"inference-rollouts.dev/apply": directive} if directive else None
    manifest = {"apiVersion": api, "kind": "K", "metadata": {"name": "x", "annotations": notes}}
    assert is_wanted(manifest, {"apiVersion": V1}, lambda served, _: served == V1) is wanted


def test_an_unknown_directive_is_refused() -> None:
    manifest = {"kind": "K", "metadata": {"annotations": {"inference-rollouts.dev/apply": "sometimes"}}}
    with pytest.raises(PlanInvalid, match="'sometimes'; known are where-served, unless-taken-over, like"):
        is_wanted(manifest, {"apiVersion": V1}, lambda *_: True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("llm-pool-standard", "llm-pool-v2-standard"), ("standard", "standard-llm-pool-v2")],
)
def test_clones_keep_the_content_and_change_name_and_pool(name: str, expected: str) -> None:
    live = {
        "apiVersion": "llm-d.ai/v1alpha2",
        "kind": "InferenceObjective",
        "metadata": {"name": name, "namespace": "default", "uid": "1", "resourceVersion": "9"},
        "spec": {"priority": 10, "poolRef": {"group": "inference.networking.k8s.io", "name": "llm-pool"}},
        "status": {"conditions": []},
    }
    clone = clone_for(live, "llm-pool", "llm-pool-v2")
    assert clone["metadata"] == {"name": expected, "namespace": "default"}
    assert clone["spec"] == {
        "priority": 10,
        "poolRef": {"group": "inference.networking.k8s.io", "name": "llm-pool-v2"},
    }
    assert "status" not in clone


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_manifests_get_typed_values() -> None:
    values = manifest_values(llm_plan(), {"apiVersion": "inference.networking.k8s.io/v1"})
    assert values["replicas"] == 3
    assert values["accelerators"] == {"nvidia.com/gpu": "1"}
