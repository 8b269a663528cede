"""A rollout of an adapter: refused, loaded, promoted, rolled back, kept on pods that come later."""

from __future__ import annotations

import copy
import json
import time

import pytest
import yaml

from inference_rollouts.core.errors import ClusterRefused, NotReady, RouteRefused, ServerRefused
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.preflight import freeze
from inference_rollouts.rollout.adapters import AdapterReconciler, bring
from tests.support.fake_cluster import OBJECTIVE_API
from tests.support.fake_servers import BASE, FakePickers, FakeServers
from tests.support.routes import rewrite

from . import ROOT
from .conftest import Run

URLS = [f"http://127.0.0.{number}:8000" for number in (1, 2, 3)]
PATH = "/adapters/food-review-2"
OLD_API = "inference.networking.x-k8s.io/v1alpha2"
STEPS = [f"step_{n}.{part}" for n in (1, 2) for part in ("shift", "judge", "gate")]
BEFORE_END = ["preflight", "load_adapter", "warm_up", *STEPS, "promote"]


def model(target):
    """What older clusters have in place of a rewrite."""
    spec = {"modelName": "food-review", "poolRef": {"name": "llm-pool"}, "targetModels": [{"name": target}]}
    return {"metadata": {"name": "food-review"}, "spec": spec}


@pytest.fixture
def cluster(cluster):
    cluster.served.add((OBJECTIVE_API, "InferenceModelRewrite"))
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", rewrite("food-review", "food-review-1"))
    return cluster


@pytest.fixture
def old_cluster(cluster):
    cluster.served.remove((OBJECTIVE_API, "InferenceModelRewrite"))
    cluster.served.add((OLD_API, "InferenceModel"))
    del cluster.objects["InferenceModelRewrite", "food-review"]
    cluster.put(OLD_API, "InferenceModel", model("food-review-1"))
    return cluster


@pytest.fixture
def servers(monkeypatch):
    fake = FakeServers()
    for module, names in {
        "rollout.adapters": ("models", "load_adapter", "unload_adapter", "complete"),
        "preflight.lora": ("models", "complete"),
        "operators.warm_up": ("complete",),
    }.items():
        for name in names:
            monkeypatch.setattr(f"inference_rollouts.{module}.{name}", getattr(fake, name))
    return fake


@pytest.fixture
def pickers(monkeypatch, cluster):
    fake = FakePickers(cluster)
    for module in ("operators.preflight", "rollout.step_observer", "rollout.checks"):
        monkeypatch.setattr(f"inference_rollouts.{module}.PrometheusHook", lambda *_: fake)
    fake.query("", time.time() - 10)
    return fake


@pytest.fixture
def rollout(include, servers, pickers, quick_runner, database):
    """Runs the DAG of food-review once; `raising` names a task whose execute raises."""
    from airflow.dag_processing.dagbag import DagBag

    path = include.with_name("food-review.yaml")
    plan = yaml.safe_load(path.read_text()) | {"initial_delay": 0}
    plan["steps"] = [{"weight": 50, "bake": "1s"}, {"weight": 100, "bake": "500ms"}]
    plan["analysis"] |= {"interval": "250ms", "scrape_delay": 0, "progress_deadline": "5s", "margin": None}
    path.write_text(yaml.safe_dump(plan))

    def boom(context):
        raise RuntimeError("boom")

    def run(raising=None, **conf):
        dag = DagBag(str(ROOT / "dags")).dags["rollout_food_review"]
        for task in dag.tasks:
            task.retries = 0
            if task.task_id == raising:
                task.execute = boom
        return Run(dag.test(run_conf=conf))

    return run


def plan(**changes):
    return parse_plan(yaml.safe_load((ROOT / "include/rollouts/food-review.yaml").read_text()) | changes)


def test_a_good_adapter_is_promoted_and_on_every_pod(rollout, cluster, servers, pickers):
    run = rollout()
    assert run.state == "success", run.note
    assert run.ran(*BEFORE_END, "report")
    assert run.states["rollback"] == "skipped"
    assert pickers.weights() == {"food-review-2": 100}
    assert "annotations" not in cluster.objects["InferenceModelRewrite", "food-review"]["metadata"]
    assert all(servers.on(url)["food-review-2"] == PATH for url in URLS)
    assert cluster.events == ["CanaryAttached", "WeightShifted", "WeightShifted", "Promoted"]


def test_a_failing_adapter_is_rolled_back_and_its_targets_are_as_found(rollout, cluster, servers, pickers):
    before = copy.deepcopy(cluster.objects["InferenceModelRewrite", "food-review"])
    pickers.failing["food-review-2"] = 0.05
    run = rollout()
    assert run.state == "failed"
    assert run.ran("step_1.judge", "step_1.gate", "rollback")
    assert run.states["promote"] == "skipped"
    after = cluster.objects["InferenceModelRewrite", "food-review"]
    assert after["spec"] == before["spec"]
    assert "annotations" not in after["metadata"]
    assert all("food-review-2" in servers.on(url) for url in URLS), "evidence, until it is retired"
    assert cluster.events[-2:] == ["CanaryAlarm", "RolledBack"]


@pytest.mark.parametrize("failing", [0.0, 0.05])
def test_older_clusters_split_by_inference_model(rollout, old_cluster, pickers, failing):
    before = copy.deepcopy(old_cluster.objects["InferenceModel", "food-review"]["spec"])
    pickers.failing["food-review-2"] = failing
    run = rollout()
    after = old_cluster.objects["InferenceModel", "food-review"]
    if failing:
        assert after["spec"] == before
    else:
        assert run.state == "success", run.note
        assert after["spec"]["targetModels"] == [{"name": "food-review-2", "weight": 100}]
    assert "annotations" not in after["metadata"]


@pytest.mark.parametrize("task", BEFORE_END)
def test_whatever_task_raises_the_targets_end_as_they_were_found(rollout, cluster, task):
    before = copy.deepcopy(cluster.objects["InferenceModelRewrite", "food-review"])
    run = rollout(raising=task)
    assert run.states[task] == "failed"
    assert run.state == "failed"
    after = cluster.objects["InferenceModelRewrite", "food-review"]
    assert after["spec"] == before["spec"]
    assert "annotations" not in after["metadata"]


def test_a_pod_that_refuses_ends_it_with_its_words_and_leaves_no_pod_loaded(rollout, cluster, servers):
    said = "LoRA rank 64 is greater than max_lora_rank 16."
    servers.refusing[URLS[1]] = said
    run = rollout()
    assert run.states["load_adapter"] == "failed"
    assert "Pod llm-pool-1 did not load food-review-2" in run.note
    assert said in run.note
    assert run.states["rollback"] == "skipped"
    assert not [url for url in URLS if "food-review-2" in servers.on(url)]
    assert not cluster.writes


def test_what_another_run_had_loaded_is_not_unloaded(rollout, servers):
    servers.on(URLS[0])["food-review-2"] = PATH
    servers.refusing[URLS[1]] = "no"
    rollout()
    assert [url for url in URLS if "food-review-2" in servers.on(url)] == URLS[:1]


def test_a_resolver_loads_at_the_first_request(rollout, include, servers, pickers):
    path = include.with_name("food-review.yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"load": "lazy"}))
    servers.lazy = True
    assert rollout().state == "success"
    assert pickers.weights() == {"food-review-2": 100}


def test_an_adapter_that_no_pod_answers_for_gets_no_request(rollout, servers, pickers):
    servers.mute.add("food-review-2")
    run = rollout()
    assert run.states["warm_up"] == "failed"
    assert pickers.weights() == {"food-review-1": 1}
    assert set(pickers.requests) == {"food-review-1"}


def test_only_requests_for_the_alias_are_judged(rollout, pickers):
    rollout()
    matchers = 'inference_pool="llm-pool",model_name="food-review"'
    assert all(matchers in promql for promql in pickers.asked if promql)


def refused(cluster, pickers, error, said, **changes):
    before = copy.deepcopy(cluster.objects)
    with pytest.raises(error) as caught:
        freeze(plan(**changes), "rollout_food_review/test", cluster, pickers)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert cluster.objects == before


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"canary": BASE}, ClusterRefused, "with its base model"),
        ({"pool": "none"}, RouteRefused, "Nothing rewrites food-review in InferencePool none"),
        ({"alias": "other"}, RouteRefused, "Nothing rewrites other"),
        ({"stable": "food-review-0"}, RouteRefused, "does not send food-review to food-review-0"),
        ({"metrics": "vllm"}, ClusterRefused, "endpoint pickers of InferencePool llm-pool"),
    ],
)
def test_wrong_plans(cluster, servers, pickers, changes, error, said):
    refused(cluster, pickers, error, said, **changes)


def test_a_name_that_is_loaded_from_elsewhere_is_refused_with_pod_and_path(cluster, servers, pickers):
    servers.on(URLS[2])["food-review-2"] = "/adapters/elsewhere"
    refused(
        cluster,
        pickers,
        ClusterRefused,
        "Pod llm-pool-2 has food-review-2 loaded already, from /adapters/else",
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, None),
        ({"r": 64}, "rank 64, the servers take up to 32"),
        (
            {"base_model_name_or_path": "mistral"},
            "trained for mistral, not for /models/llama, llama-3.1-8b, m",
        ),
        ({"base_model_name_or_path": "/models/llama"}, None),
        ({"target_modules": ["router"]}, "changes the modules router"),
    ],
)
def test_the_adapters_config_must_fit_the_servers(cluster, servers, pickers, tmp_path, config, said):
    path = tmp_path / "adapter_config.json"
    path.write_text(
        json.dumps({"r": 32, "base_model_name_or_path": "m", "target_modules": ["q_proj"]} | config)
    )
    for pod in cluster.select("v1", "Pod"):
        pod["spec"]["containers"] = [{"args": ["--enable-lora", "--max-lora-rank=32"]}]
        cluster.put("v1", "Pod", pod)
    changes = {"config": f"file://{path}", "bases": ["/models/llama"]}
    if said is None:
        freeze(plan(**changes), "rollout_food_review/test", cluster, pickers)
    else:
        refused(cluster, pickers, ClusterRefused, said, **changes)


def test_a_pod_that_does_not_answer_for_stable_is_refused(cluster, servers, pickers):
    del servers.on(URLS[1])["food-review-1"]
    refused(cluster, pickers, ClusterRefused, "Pod llm-pool-1, asked for food-review-1, answered 404")


@pytest.mark.parametrize("other", [rewrite("tasting", "food-review-2"), rewrite("food-review-2", "x")])
def test_a_name_that_another_rewrite_knows_is_refused(cluster, servers, pickers, other):
    other["metadata"]["name"] = "tasting"
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", copy.deepcopy(other))
    refused(cluster, pickers, RouteRefused, "InferenceModelRewrite tasting names food-review-2 already")


@pytest.mark.parametrize(
    "spec", [{"poolRef": {"name": "llm-pool"}, "rules": []}, rewrite("x", "y", "other")["spec"]]
)
def test_other_rewrites_are_no_hindrance(cluster, servers, pickers, spec):
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", {"metadata": {"name": "other"}, "spec": spec})
    frozen = freeze(plan(), "rollout_food_review/test", cluster, pickers)
    assert [target.name for target in frozen.targets] == ["food-review"]


def test_an_alias_split_twice_is_refused(cluster, servers, pickers):
    second = rewrite("food-review", "food-review-1")
    second["metadata"]["name"] = "second"
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", second)
    refused(
        cluster,
        pickers,
        RouteRefused,
        "split by InferenceModelRewrite food-review, InferenceModelRewrite second",
    )


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (
            400,
            "LoRA rank 64 is greater than max_lora_rank 16.",
            ": 400: LoRA rank 64 is greater than max_lora_rank 16.",
        ),
        (404, "{'detail': 'Not Found'}", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=true"),
    ],
)
def test_a_refusal_names_pod_path_and_words(servers, monkeypatch, status, words, said):
    def refuse(*_):
        raise ServerRefused(status, words)

    monkeypatch.setattr("inference_rollouts.rollout.adapters.load_adapter", refuse)
    with pytest.raises(NotReady) as caught:
        bring("pod-1", URLS[0], plan())
    assert str(caught.value).startswith("Pod pod-1 did not load food-review-2 from /adapters/food-review-2")
    assert said in str(caught.value)
    assert ".." not in str(caught.value)


def settled(keeper, pods):
    """What the keeper says once all servers have answered."""
    deadline = time.monotonic() + 10
    while "being asked" in " ".join(found := keeper.look(pods)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_pods_that_come_later_are_given_the_adapter(cluster, servers):
    keeper = AdapterReconciler(plan(), cluster)
    pods = cluster.select("v1", "Pod")
    assert settled(keeper, pods) == []
    assert all("food-review-2" in servers.on(url) for url in URLS)
    servers.loaded.clear()
    assert settled(keeper, pods) == [], "a server process is asked once"
    assert not servers.loaded
    pods[0]["status"]["containerStatuses"] = [{"restartCount": 1}]
    assert settled(keeper, pods) == []
    assert list(servers.loaded) == URLS[:1], "a restarted one has forgotten what it had loaded"


def test_a_late_pod_that_refuses_holds_the_step_and_is_asked_again(cluster, servers):
    keeper = AdapterReconciler(plan(), cluster)
    servers.refusing[URLS[0]] = "No adapter found"
    (said,) = settled(keeper, cluster.select("v1", "Pod"))
    assert (
        "Pod llm-pool-0 did not load food-review-2 from /adapters/food-review-2: 400: No adapter found"
        in said
    )
    servers.refusing.clear()
    assert settled(keeper, cluster.select("v1", "Pod")) == []
