"""An adapter may be rolled out where its name is free, it fits, and what serves today answers everywhere."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterRefused, RouteRefused
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.preflight.forecast import forecast
from tests.support.alias import URLS, alias_cluster
from tests.support.fake_cluster import OBJECTIVE_API, FakeCluster
from tests.support.fake_pickers import FakePickers
from tests.support.fake_servers import BASE, FIRST, FakeServers
from tests.support.fake_storage import FakeStorage
from tests.support.freezing import freeze, refused
from tests.support.plans import food_review_plan
from tests.support.routes import rewrite

RUN = "rollout_food_review/test"
CONFIG = "s3://configs/food-review-2.json"


class Stage:
    """A cluster that splits food-review, its servers, and pickers that have counted already."""

    def __init__(self) -> None:
        self.cluster = alias_cluster()
        self.servers = FakeServers(FIRST, [Served(BASE, "m")])
        self.storage = FakeStorage()
        self.pickers = FakePickers(self.cluster)
        self.pickers.query("", time.time() - 10)

    def given(self) -> dict[str, Any]:
        return {"prometheus": self.pickers, "servers": self.servers, "files": self.storage, "run": RUN}

    def freeze(self, **changes: Any) -> Frozen:
        return freeze(self.cluster, food_review_plan(**changes), **self.given()).frozen

    def refuses(self, error: type[Exception], words: str, **changes: Any) -> None:
        refused(error, words, self.cluster, food_review_plan(**changes), **self.given())


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_dry_run_says_that_the_adapter_may_go_one_day_and_the_pool_never(stage: Stage) -> None:
    run = freeze(stage.cluster, food_review_plan(), **stage.given())
    assert forecast(run, 1000.0).stays[:2] == (
        "InferencePool llm-pool and its pods",
        "adapter food-review-1 on every pod, also after a promotion, until retire_food_review",
    )


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"canary": BASE}, ClusterRefused, "with its base model"),
        ({"pool": "none"}, RouteRefused, "Nothing rewrites food-review in InferencePool none"),
        ({"alias": "other"}, RouteRefused, "Nothing rewrites other"),
        ({"stable": "food-review-0"}, RouteRefused, "does not send food-review to food-review-0"),
        ({"metrics": "vllm"}, ClusterRefused, "endpoint pickers of InferencePool llm-pool"),
    ],
)
def test_wrong_plans(stage: Stage, changes: dict[str, Any], error: type[Exception], words: str) -> None:
    stage.refuses(error, words, **changes)


def test_a_name_that_is_loaded_from_elsewhere_is_refused_with_pod_and_path(stage: Stage) -> None:
    stage.servers.on(URLS[2])["food-review-2"] = "/adapters/elsewhere"
    stage.refuses(ClusterRefused, "Pod llm-pool-2 has food-review-2 loaded already, from /adapters/else")


@pytest.mark.parametrize(
    ("config", "words"),
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
def test_the_adapters_config_must_fit_the_servers(
    stage: Stage, config: dict[str, Any], words: str | None
) -> None:
    fits = {"r": 32, "base_model_name_or_path": "m", "target_modules": ["q_proj"]}
    stage.storage.files[CONFIG] = json.dumps(fits | config)
    for name in stage.cluster.names("Pod"):
        spec = stage.cluster.objects["Pod", name]["spec"]
        spec["containers"] = [{"args": ["--enable-lora", "--max-lora-rank=32"]}]
    changes = {"config": CONFIG, "bases": ["/models/llama"]}
    if words is None:
        stage.freeze(**changes)
    else:
        stage.refuses(ClusterRefused, words, **changes)


def test_a_pod_that_does_not_answer_for_stable_is_refused(stage: Stage) -> None:
    del stage.servers.on(URLS[1])["food-review-1"]
    stage.refuses(ClusterRefused, "Pod llm-pool-1, asked for food-review-1, answered 404")


def put_rewrite(cluster: FakeCluster, name: str, obj: dict[str, Any]) -> None:
    obj = copy.deepcopy(obj)
    obj["metadata"]["name"] = name
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", obj)


@pytest.mark.parametrize("other", [rewrite("tasting", "food-review-2"), rewrite("food-review-2", "x")])
def test_a_name_that_another_rewrite_knows_is_refused(stage: Stage, other: dict[str, Any]) -> None:
    put_rewrite(stage.cluster, "tasting", other)
    stage.refuses(RouteRefused, "InferenceModelRewrite tasting names food-review-2 already")


@pytest.mark.parametrize(
    "spec", [{"poolRef": {"name": "llm-pool"}, "rules": []}, rewrite("x", "y", "other")["spec"]]
)
def test_other_rewrites_are_no_hindrance(stage: Stage, spec: dict[str, Any]) -> None:
    put_rewrite(stage.cluster, "other", {"metadata": {}, "spec": spec})
    assert [target.name for target in stage.freeze().targets] == ["food-review"]


def test_an_alias_split_twice_is_refused(stage: Stage) -> None:
    put_rewrite(stage.cluster, "second", rewrite("food-review", "food-review-1"))
    stage.refuses(RouteRefused, "split by InferenceModelRewrite food-review, InferenceModelRewrite second")


def test_where_the_old_adapter_is_from_is_frozen_for_pods_that_come_later(stage: Stage) -> None:
    assert stage.freeze().stable_path == "/adapters/food-review-1"


def test_pods_that_do_not_agree_where_it_is_from_are_warned_of(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.servers.on(URLS[1])["food-review-1"] = "/adapters/other"
    assert stage.freeze().stable_path == ""
    assert "different paths (/adapters/food-review-1, /adapters/other)" in caplog.text


def test_a_base_model_comes_with_every_pod(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.cluster.put(OBJECTIVE_API, "InferenceModelRewrite", rewrite("food-review", BASE))
    assert stage.freeze(stable=BASE).stable_path == ""
    assert "cannot be given it" not in caplog.text
