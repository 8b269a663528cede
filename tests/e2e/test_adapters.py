"""A live pool with an adapter: a new pool takes it over, or is stopped in warm-up, and no client notices."""

from __future__ import annotations

from typing import Any

import pytest

from bench.shared import SharedLab
from bench.stage import Stage, example
from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.serving.adapters import Adapter

pytestmark = pytest.mark.timeout(600)


def warm_up(stage: Stage, canary: str, workload: dict[str, Any]) -> dict[str, float]:
    """Preflight, the pods, and what the task warm_up does."""
    plan = example("llm", canary=canary, workload=workload, analysis={"margin": None})
    run = stage.freeze(plan, "tests/adapters")
    adapters = run.plan.as_pool_plan.workload.adapters
    assert [adapter.name for adapter in adapters if isinstance(adapter, Adapter)] == ["food-review-1"]
    stage.deploy(run)
    return dict(run.kind.warm_up(run))


@pytest.mark.parametrize(
    ("canary", "workload", "why"),
    [
        ("as-stable", {}, None),
        ("by-api", {"lora": {"load": "api"}}, None),
        (
            "template",
            {"image": "vllm/vllm-openai:v0.32.0-chat-template"},
            "the tokenizer or the chat template",
        ),
        (
            "rank",
            {"lora": {"load": "api"}, "adapters": [{"name": "food-review-1", "path": "/adapters/rank-64"}]},
            "adapter food-review-1 from /adapters/rank-64: it says 500: .*LoRA rank 64 is greater than",
        ),
    ],
    ids=["as-stable", "by-api", "template", "rank"],
)
def test_a_new_pool_answers_for_the_adapter_or_is_stopped(
    lab: SharedLab, canary: str, workload: dict[str, Any], why: str | None
) -> None:
    if why is None:
        assert len(warm_up(lab.stage, canary, workload)) == 3
    else:
        with pytest.raises(WarmUpFailed, match=why):
            warm_up(lab.stage, canary, workload)
    assert lab.lost == {}
