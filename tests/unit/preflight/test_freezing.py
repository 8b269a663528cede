"""Bad input is refused with one clear sentence, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import (
    PlanInvalid,
    RouteRefused,
)
from inference_rollouts.core.run.frozen import Frozen
from tests.support.fake_cluster import FakeCluster
from tests.support.freezing import preflight, refused


def test_a_good_plan_is_frozen_and_nothing_is_written() -> None:
    cluster = FakeCluster()
    frozen = preflight(cluster, {"weights": [10, 100], "bake": "90s", "image": "vllm/vllm-openai:v9"})
    assert not cluster.writes
    assert [(s.weight, s.bake) for s in frozen.plan.steps] == [(10, 90), (100, 90)]
    kinds = [manifest["kind"] for manifest in frozen.manifests]
    assert kinds == ["Deployment", "Deployment", "Service", "InferencePool", "InferenceObjective"]
    container = frozen.manifests[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "vllm/vllm-openai:v9"
    assert container["ports"][0]["containerPort"] == 8000
    assert "--max-num-seqs=64" in container["args"]
    assert Frozen.from_json(frozen.to_json()) == frozen


def test_a_frozen_plan_that_was_changed_is_refused() -> None:
    frozen = preflight(FakeCluster()).to_json()
    frozen["plan"]["stable"] = "other"
    with pytest.raises(PlanInvalid, match="changed after preflight"):
        Frozen.from_json(frozen)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"weights": [50, 25, 100]}, "must rise"),
        ({"weights": [5, 50]}, "end at 100"),
        ({"weights": [5, 5, 100]}, "must rise"),
        ({"weights": [0, 100]}, "weights.0"),
        ({"weights": [5, 120]}, "weights.1"),
        ({"weights": []}, "weights"),
        ({"weights": "all"}, "weights"),
        ({"weights": [1, 2, 3, 4, 100]}, "this plan's DAG has 4"),
        ({"bake": "-5s"}, "not a duration"),
        ({"bake": -5}, "not a duration"),
        ({"bake": "soon"}, "not a duration"),
        ({"canary": "llm-pool"}, "needs a name of its own"),
        ({"canary": "New Pool"}, "canary"),
        ({"image": "a b"}, "image"),
        ({"image": "x\nprivileged: true"}, "image"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_wrong_parameters(params: dict[str, Any], words: str) -> None:
    refused(PlanInvalid, words, params=params)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"stable": "no-such-pool"}, RouteRefused, "no rule"),
        ({"stable": "no-such-pool", "routes": "all"}, RouteRefused, "No HTTPRoute in namespace default"),
        ({"routes": [{"name": "no-such-route"}]}, RouteRefused, "no HTTPRoute no-such-route"),
        ({"routes": [{"name": "routes-to-llm", "rules": ["chat"]}]}, RouteRefused, "no rule called chat"),
        ({"routes": []}, PlanInvalid, "routes"),
        ({"gateway": "other"}, RouteRefused, "my-inference-gateway"),
        ({"metrics": "nothing"}, PlanInvalid, "no metric set 'nothing'"),
        ({"steps": []}, PlanInvalid, "steps"),
        ({"steps": [{"weight": 100, "bake": "-1m"}]}, PlanInvalid, "not a duration"),
        ({"schedule": {"cron": "0 2 * * *", "timezone": "Mars/Olympus"}}, PlanInvalid, "time zone"),
        ({"analysis": {"on_timeout": "guess"}}, PlanInvalid, "on_timeout"),
        ({"analysis": {"tolerances": {"nothing": 1}}}, PlanInvalid, "no metric 'nothing'"),
        ({"analysis": {"margin": 0.1}}, PlanInvalid, "must be more than the tolerance"),
        ({"surprise": 1}, PlanInvalid, "surprise"),
    ],
)
def test_wrong_plans(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    refused(error, words, **changes)
