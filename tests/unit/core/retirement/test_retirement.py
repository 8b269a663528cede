"""Who uses a pool or an adapter, since when it is quiet, and in which order things go."""

from __future__ import annotations

import pytest

from inference_rollouts.core.judging.metrics import SERIES, Arm, parse_metric_set
from inference_rollouts.core.objects.ownership import OWNER, OWNER_LABEL, PLAN_LABEL
from inference_rollouts.core.plan.retention import Action, Retention
from inference_rollouts.core.retirement import retirement as core
from inference_rollouts.core.retirement.idle import (
    Clock,
    Observation,
    activity_query,
    observed_adapter,
    observed_pool,
)
from inference_rollouts.core.routing.claim import CLAIMED_BY, Claim, Place
from tests.support.json_patch import TestFailed, apply_patch
from tests.support.plans import llm_plan
from tests.support.routes import ref, rewrite, route, service

OLD, NEW = "llm-pool", "llm-pool-version-2"


def mirrored(pool):
    thing = route([ref(NEW)])
    backend = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": pool}
    thing["spec"]["rules"][0]["filters"] = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": 5}}
    ]
    return thing


def elsewhere(*refs):
    thing = route(list(refs))
    thing["metadata"]["namespace"] = "other"
    return thing


@pytest.mark.parametrize(
    ("thing", "why"),
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
            route([ref(OLD, 0), ref(NEW, 1)], annotations={CLAIMED_BY: "rollout_llm/r2"}),
            "HTTPRoute routes-to-llm names llm-pool and is claimed by rollout rollout_llm/r2",
        ),
        (route([ref(NEW)], annotations={CLAIMED_BY: "rollout_llm/r2"}), ""),
        (mirrored(OLD), "HTTPRoute routes-to-llm mirrors requests to llm-pool"),
        (elsewhere(ref(OLD, 5)), ""),
        (
            elsewhere({**ref(OLD, 5), "namespace": "default"}),
            "HTTPRoute routes-to-llm gives llm-pool weight 5",
        ),
    ],
)
def test_a_pool_is_used_while_any_rule_may_send_it_requests(thing, why):
    assert core.user_of_pool([route([ref(NEW)]), thing], OLD, "default") == why


def held(thing, stable, canary, run="rollout_food/r2"):
    places = (Place("/spec/rules/0", ({"modelRewrite": stable},)),)
    claim = Claim(run, stable, canary, places).to_json()
    thing["metadata"]["annotations"] = {CLAIMED_BY: run, "inference-rollouts.dev/claim": claim}
    return thing


@pytest.mark.parametrize(
    ("thing", "why"),
    [
        (rewrite("food", "food-2"), ""),
        (rewrite("food", "food-1"), "InferenceModelRewrite food sends requests to food-1"),
        (
            held(rewrite("food", "food-2"), "food-2", "food-1"),
            "InferenceModelRewrite food is claimed by rollout rollout_food/r2, which counts on food-1",
        ),
        (held(rewrite("food", "food-2"), "food-2", "food-3"), ""),
    ],
)
def test_an_adapter_is_used_while_a_target_or_a_rollout_counts_on_it(thing, why):
    assert core.user_of_adapter([thing], "food-1") == why


def test_the_pool_leaves_every_rule_that_names_it_and_nothing_else_changes():
    before = route([ref(OLD, 0), ref(NEW, 100)], [ref("other", 7), ref(OLD, 0)], [ref(NEW)])
    after = apply_patch(before, core.detach_patch(before, OLD, "default"))
    lists = [rule["backendRefs"] for rule in after["spec"]["rules"]]
    assert lists == [[ref(NEW, 100)], [ref("other", 7)], [ref(NEW)]]
    assert core.detach_patch(after, OLD, "default") == []


def test_a_route_that_somebody_wrote_to_meanwhile_is_read_again():
    before = route([ref(OLD, 0), ref(NEW, 100)])
    patch = core.detach_patch(before, OLD, "default")
    with pytest.raises(TestFailed):
        apply_patch(before | {"metadata": before["metadata"] | {"resourceVersion": "11"}}, patch)


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (route([ref(OLD, 0), ref(NEW, 100)]), ""),
        (
            route([ref(NEW, 1)], [ref(OLD, 0)]),
            "rule 1 of HTTPRoute routes-to-llm has no backend but llm-pool",
        ),
        (elsewhere({**ref(OLD, 0), "namespace": "default"}, ref(NEW)), "in namespace other names llm-pool"),
    ],
)
def test_a_rule_that_would_be_left_empty_or_is_not_ours_is_told(thing, said):
    assert said in core.sole_backend([thing], OLD, "default")
    assert bool(said) == bool(core.sole_backend([thing], OLD, "default"))


def thing(kind, name=OLD, plan="llm"):
    labels = {OWNER_LABEL: OWNER, PLAN_LABEL: plan}
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "uid": f"u-{kind}-{name}", "labels": labels},
    }


def test_what_refers_to_the_pool_goes_first_and_the_workload_last():
    found = [
        thing("Service"),
        thing("Deployment"),
        thing("InferencePool"),
        thing("HorizontalPodAutoscaler"),
        thing("InferenceObjective"),
        thing("InferencePool", plan="another"),
    ]
    kinds = [gone.kind for gone in core.retired_objects(found, "llm")]
    assert kinds == [
        "InferenceObjective",
        "InferencePool",
        "HorizontalPodAutoscaler",
        "Deployment",
        "Service",
    ]


def test_of_several_words_about_a_pool_the_last_counts():
    said = [
        {"name": OLD, "action": "remove", "since": 2.0, "run": "b"},
        {"name": NEW, "action": "scale-down", "since": 3.0, "run": "c"},
        {"name": OLD, "action": "scale-down", "since": 1.0, "run": "a"},
    ]
    assert core.latest(said) == [
        {"name": OLD, "action": "remove", "since": 2.0},
        {"name": NEW, "action": "scale-down", "since": 3.0},
    ]


@pytest.mark.parametrize(
    ("retention", "removed", "scaled"),
    [
        ({}, None, 3600.0),
        ({"keep": "2h", "keep_rolled_back": None}, 7200.0, None),
        ({"keep": 0}, 0.0, 3600.0),
    ],
)
def test_retention_says_what_goes_by_itself_and_when(retention, removed, scaled):
    said = Retention(**retention)
    assert (said.kept(Action.REMOVE), said.kept(Action.SCALE_DOWN)) == (removed, scaled)


def quiet_after(looks, longest=10.0):
    """The time of the look at which the clock says quiet; None when none does."""
    clock = Clock()
    for look in looks:
        clock = clock.tick(look)
        if clock.is_quiet(longest):
            return look.at
    return None


SAME = {("answered/0", "a"): 5.0}


@pytest.mark.parametrize(
    ("looks", "at"),
    [
        ([Observation(t, "", SAME) for t in (0, 5, 9)], None),
        ([Observation(t, "", SAME) for t in (0, 5, 10)], 10),
        (
            [
                Observation(0, "", SAME),
                Observation(5, "busy"),
                Observation(10, "", SAME),
                Observation(15, "", SAME),
                Observation(20, "", SAME),
            ],
            20,
        ),
        (
            [
                Observation(0, "", SAME),
                Observation(5, "", {("answered/0", "a"): 6.0}),
                Observation(10, "", SAME),
            ],
            None,
        ),
        (
            [
                Observation(0, ""),
                Observation(5, "", SAME),
                Observation(10, "", SAME),
                Observation(14, "", SAME),
            ],
            None,
        ),
        ([Observation(t, "no data") for t in range(0, 100, 5)], None),
    ],
)
def test_only_an_unbroken_silence_of_the_longest_stream_is_quiet(looks, at):
    assert quiet_after(looks) == at


def sample(part, value, pod="a"):
    return {"metric": {SERIES: part, "pod": pod}, "value": [0, str(value)]}


@pytest.mark.parametrize(
    ("samples", "busy"),
    [
        ([], "Prometheus has no data of a, b"),
        ([sample("inside/0", 0)], "Prometheus has no data of b"),
        ([sample("inside/0", 0), sample("inside/0", 0, "b")], ""),
        ([sample("inside/0", 0), sample("inside/0", 2, "b")], "requests are running or waiting in b"),
        ([sample("inside/0", 0), sample("inside/0", "NaN", "b")], "requests are running or waiting in b"),
        (
            [sample("inside/0", 0), sample("inside/0", 0, "b"), sample("inside/1", 1, "c")],
            "requests are running or waiting in c",
        ),
    ],
)
def test_a_pool_is_quiet_only_if_every_ready_pod_says_so(samples, busy):
    assert observed_pool(1.0, samples, "pod", {"a", "b"}).busy == busy


def test_an_adapter_nobody_asks_for_is_quiet_only_while_its_picker_tells():
    assert "no data" in observed_adapter(1.0, [sample("answered/0", 3)], "pod", OLD).busy
    look = observed_adapter(1.0, [sample("alive", 1), sample("answered/0", 3)], "pod", OLD)
    assert look == Observation(1.0, "", {("answered/0", "a"): 3.0})


def metric_set(**changes):
    rate = {"name": "errors", "kind": "rate", "total": "requests_total", "bad": "errors_total"}
    return parse_metric_set({"name": "own", "errors": "errors", "metrics": [rate]} | changes)


def test_the_query_asks_each_process_and_escapes_what_people_typed():
    query = activity_query(metric_set(), Arm("inference_pool", 'a"b', "default"), 30)
    assert (
        'max_over_time(vllm:num_requests_running{namespace="default",inference_pool="a\\"b"}[30s])' in query
    )
    assert 'last_over_time(requests_total{namespace="default",inference_pool="a\\"b"}[30s])' in query
    adapter = Arm(
        "target_model_name", "food-1", "default", (("inference_pool", OLD),), (("model_name", "x"),)
    )
    query = activity_query(metric_set(load="g"), adapter, 30)
    assert "inside" not in query
    assert "model_name=" not in query.replace("target_model_name=", "")
    assert 'requests_total{namespace="default",inference_pool="llm-pool",target_model_name="food-1"}' in query


def test_a_pool_of_others_is_explained_and_not_deleted():
    said = core.by_hand(llm_plan(), OLD)
    order = ["edit httproute", "delete inferencepool", "--replicas=0", "delete deployment"]
    assert [said.index(part) for part in order] == sorted(said.index(part) for part in order)
