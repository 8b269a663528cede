"""A live pool with an adapter: a new pool takes it over, or is stopped in warm-up, and no client notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import yaml

from bench.reflex import theatre
from lab.host.state import CHECKOUT, StateDirectory

pytestmark = pytest.mark.timeout(200)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A lab, whose stable pods have an adapter as clusters with tuned models do."""
    folder = tmp_path_factory.mktemp("adapters") / "lab"
    with theatre(folder) as stage:
        yield SimpleNamespace(stage=stage, record=StateDirectory(folder).read())


def ready(cluster: Any, deployment: str) -> bool:
    from inference_rollouts.core.objects.workloads import workload_readiness

    live = cluster.get("apps/v1", "Deployment", deployment)
    pods = cluster.select("v1", "Pod", live["spec"]["selector"]["matchLabels"])
    return workload_readiness(live, pods, 0.0, time.time()).phase == "ready"


def until(true: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def lost(lab: Any) -> dict[str, int]:
    """What clients saw fail, by cause."""
    totals = requests.get(f"{lab.record['loadgen']['url']}/stats", timeout=5).json()["totals"]
    return {cause: count for cause, count in totals["outcomes"].items() if cause != "ok" and count}


def warm_up(lab: Any, canary: str, **changes: Any) -> dict[str, float]:
    """Preflight, the pods, and the task warm_up."""
    from inference_rollouts.core.plan.plan import parse_plan
    from inference_rollouts.operators.warm_up import WarmUp
    from inference_rollouts.preflight import freeze

    value = yaml.safe_load((CHECKOUT / "include/rollouts/llm.yaml").read_text())
    value |= {"canary": canary, "workload": value["workload"] | changes, "analysis": {"margin": None}}
    cluster = lab.stage.cluster
    frozen = freeze(parse_plan(value), "tests/adapters", cluster, lab.stage.prometheus)
    for manifest in frozen.manifests:
        cluster.apply(manifest)
    until(lambda: ready(cluster, canary))
    try:
        context = {"ti": SimpleNamespace(xcom_pull=lambda **_: frozen.to_json(), xcom_push=lambda **_: None)}
        found = WarmUp.execute.__wrapped__(WarmUp(task_id="warm_up"), context)
        assert [adapter.name for adapter in frozen.plan.workload.adapters] == ["food-review-1"]
        return dict(found)
    finally:
        cluster.patch(
            "apps/v1", "Deployment", canary, [{"op": "replace", "path": "/spec/replicas", "value": 0}]
        )


@pytest.mark.parametrize(
    ("canary", "changes", "said"),
    [
        ("as-stable", {}, None),
        ("by-api", {"lora": {"load": "api"}}, None),
        (
            "template",
            {"image": "vllm/vllm-openai:v0.11.0-chat-template"},
            "the tokenizer or the chat template",
        ),
        (
            "rank",
            {"lora": {"load": "api"}, "adapters": [{"name": "food-review-1", "path": "/adapters/rank-64"}]},
            "adapter food-review-1 from /adapters/rank-64: it says 400: LoRA rank 64 is greater than",
        ),
    ],
)
def test_a_new_pool_answers_for_the_adapter_or_is_stopped(
    lab: Any, canary: str, changes: dict[str, Any], said: str | None
) -> None:
    from inference_rollouts.core.errors import WarmUpFailed

    before = lost(lab)
    if said is None:
        assert len(warm_up(lab, canary, **changes)) == 3
    else:
        with pytest.raises(WarmUpFailed, match=said):
            warm_up(lab, canary, **changes)
    assert lost(lab) == before
