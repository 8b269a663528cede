"""Who uses a pool or an adapter, and in which order things go."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import ClaimUnreadable
from inference_rollouts.core.objects.ownership import OWNER, OWNER_LABEL, PLAN_LABEL
from inference_rollouts.core.retirement import retirement as core
from inference_rollouts.core.routing.claim import CLAIM, Claim, Owner, place_of
from tests.support.json_patch import TestFailed, apply_patch
from tests.support.plans import llm_plan
from tests.support.routes import ref, rewrite, route, service

OLD, NEW = "llm-pool", "llm-pool-version-2"


def mirrored(pool: Any) -> dict[str, Any]:
    obj = route([ref(NEW)])
    backend = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool}
    obj["spec"]["rules"][0]["filters"] = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": 5}}
    ]
    return obj


def elsewhere(*refs: Any) -> dict[str, Any]:
    obj = route(list(refs))
    obj["metadata"]["namespace"] = "other"
    return obj


def claimed(obj: dict[str, Any], stable: str, canary: str, run: str = "rollout_food/r2") -> dict[str, Any]:
    places = (place_of(obj, "/spec/rules/0"),)
    claim = Claim(token="t", owner=Owner(run=run), stable=stable, canary=canary, steps=1, places=places)
    obj["metadata"]["annotations"] = {CLAIM: claim.to_json()}
    return obj


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (route([ref(OLD, 0), ref(NEW, 100)]), ""),
        (route([ref(NEW)]), ""),
        (route([service(OLD, 5)]), ""),
        (
            route([ref(OLD, 0), ref(NEW, 100)], [ref(OLD, 3)]),
            "HTTPRoute routes-to-llm gives llm-pool weight 3",
        ),
        (route([ref(OLD)]), "HTTPRoute routes-to-llm gives llm-pool weight 1"),
        (
            claimed(route([ref(OLD, 0), ref(NEW, 1)]), OLD, NEW, "rollout_llm/r2"),
            "HTTPRoute routes-to-llm names llm-pool and is claimed by rollout rollout_llm/r2",
        ),
        (claimed(route([ref(NEW)]), NEW, "llm-pool-version-3", "rollout_llm/r2"), ""),
        (route([ref(NEW)], annotations={CLAIM: "{}"}), ""),
        (mirrored(OLD), "HTTPRoute routes-to-llm mirrors requests to llm-pool"),
        (elsewhere(ref(OLD, 5)), ""),
        (
            elsewhere({**ref(OLD, 5), "namespace": "default"}),
            "HTTPRoute routes-to-llm gives llm-pool weight 5",
        ),
    ],
)
def test_a_pool_is_used_while_any_rule_may_send_it_requests(obj: dict[str, Any], why: str) -> None:
    assert core.user_of_pool([route([ref(NEW)]), obj], OLD, "default") == why


def test_whether_a_pool_is_used_is_unknown_while_a_claim_that_may_count_on_it_is_unreadable() -> None:
    obj = route([ref(OLD, 0), ref(NEW, 1)], annotations={CLAIM: "{}"})
    with pytest.raises(ClaimUnreadable):
        core.user_of_pool([obj], OLD, "default")


@pytest.mark.parametrize(
    ("obj", "why"),
    [
        (rewrite("food", "food-2"), ""),
        (rewrite("food", "food-1"), "InferenceModelRewrite food sends requests to food-1"),
        (
            claimed(rewrite("food", "food-2"), "food-2", "food-1"),
            "InferenceModelRewrite food is claimed by rollout rollout_food/r2, which counts on food-1",
        ),
        (claimed(rewrite("food", "food-2"), "food-2", "food-3"), ""),
    ],
)
def test_an_adapter_is_used_while_a_target_or_a_rollout_counts_on_it(obj: dict[str, Any], why: str) -> None:
    assert core.user_of_adapter([obj], "food-1") == why


def test_the_pool_leaves_every_rule_that_names_it_and_nothing_else_changes() -> None:
    before = route([ref(OLD, 0), ref(NEW, 100)], [ref("other", 7), ref(OLD, 0)], [ref(NEW)])
    after = apply_patch(before, core.detach_patch(before, OLD, "default"))
    lists = [rule["backendRefs"] for rule in after["spec"]["rules"]]
    assert lists == [[ref(NEW, 100)], [ref("other", 7)], [ref(NEW)]]
    assert core.detach_patch(after, OLD, "default") == []


def test_a_route_that_somebody_wrote_to_meanwhile_is_read_again() -> None:
    before = route([ref(OLD, 0), ref(NEW, 100)])
    patch = core.detach_patch(before, OLD, "default")
    with pytest.raises(TestFailed):
        apply_patch(before | {"metadata": before["metadata"] | {"resourceVersion": "11"}}, patch)


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        (route([ref(OLD, 0), ref(NEW, 100)]), ""),
        (
            route([ref(NEW, 1)], [ref(OLD, 0)]),
            "rule 1 of HTTPRoute routes-to-llm has no backend but llm-pool",
        ),
        (elsewhere({**ref(OLD, 0), "namespace": "default"}, ref(NEW)), "in namespace other names llm-pool"),
    ],
)
def test_a_rule_that_would_be_left_empty_or_is_not_ours_is_told(obj: dict[str, Any], words: str) -> None:
    assert words in core.sole_backend([obj], OLD, "default")
    assert bool(words) == bool(core.sole_backend([obj], OLD, "default"))


def created(kind: str, name: str = OLD, plan: str = "llm") -> dict[str, Any]:
    labels = {OWNER_LABEL: OWNER, PLAN_LABEL: plan}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "uid": f"u-{kind}-{name}", "labels": labels},
    }


def test_what_refers_to_the_pool_goes_first_and_the_workload_last() -> None:
    objects = [
        created("Service"),
        created("Deployment"),
        created("InferencePool"),
        created("HorizontalPodAutoscaler"),
        created("InferenceObjective"),
        created("InferencePool", plan="another"),
    ]
    kinds = [gone.kind for gone in core.retired_objects(objects, "llm")]
    assert kinds == [
        "InferenceObjective",
        "InferencePool",
        "HorizontalPodAutoscaler",
        "Deployment",
        "Service",
    ]


def test_of_several_words_about_a_pool_the_last_counts() -> None:
    words = [
        {"name": OLD, "action": "remove", "since": 2.0, "run": "b"},
        {"name": NEW, "action": "scale-down", "since": 3.0, "run": "c"},
        {"name": OLD, "action": "scale-down", "since": 1.0, "run": "a"},
    ]
    assert core.latest(words) == [
        {"name": OLD, "action": "remove", "since": 2.0},
        {"name": NEW, "action": "scale-down", "since": 3.0},
    ]


def test_a_pool_of_others_is_explained_and_not_deleted() -> None:
    words = core.by_hand(llm_plan(), OLD)
    order = ["edit httproute", "delete inferencepool", "--replicas=0", "delete deployment"]
    assert [words.index(part) for part in order] == sorted(words.index(part) for part in order)
