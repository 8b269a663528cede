"""Most of a canary's requests never reach its servers, which answer the rest well: who sent them tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from bench.shared import SharedLab
from bench.stage import Stage, judgement
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.rollout.run import Run
from inference_rollouts.triggers.judge import JudgeTrigger
from lab.gateway.losses import LOSSES

pytestmark = pytest.mark.timeout(600)

WEIGHT, BAKE = 10, 20.0
STEPS = [{"weight": WEIGHT, "bake": BAKE}, {"weight": 100, "bake": BAKE}]


def judged(stage: Stage, canary: Run) -> dict[str, Any]:
    """What the judge says of a first step at a small weight; the route is as found afterwards."""
    policy = canary.plan.analysis.model_copy(update={"margin": None, "progress_deadline": 60.0})
    steps = tuple(type(canary.plan.steps[0]).model_validate(step) for step in STEPS)
    plan = canary.plan.model_copy(update={"analysis": policy, "steps": steps})
    run, since = stage.open_run(replace(canary.frozen, plan=plan)), time.time()
    run.traffic.attach()
    try:
        run.traffic.permit(0, since)
        run.traffic.shift(1, plan.all_steps[0], since)
        trigger = JudgeTrigger(frozen=run.frozen.to_json(), step=1, since=since)
        return asyncio.run(judgement(trigger))
    finally:
        run.traffic.way_back.restore("the test is over", time.time())


@contextmanager
def losing(stage: Stage, text: str) -> Iterator[None]:
    """The gateway loses requests, as the text says, while the context lasts."""
    [gateway] = stage.cluster.select(GATEWAY_API, "Gateway")
    name, found = gateway["metadata"]["name"], gateway["metadata"].get("annotations", {})

    def annotate(annotations: dict[str, str]) -> None:
        patch = [{"op": "add", "path": "/metadata/annotations", "value": annotations}]
        stage.cluster.patch(GATEWAY_API, "Gateway", name, patch)

    annotate(found | {LOSSES: text})
    try:
        yield
    finally:
        annotate(found)


def test_a_canary_whose_pods_take_few_of_its_connections_is_rolled_back(
    shared_lab: SharedLab, canary: Run
) -> None:
    with losing(shared_lab.stage, f"{canary.plan.canary}=70"):
        final = judged(shared_lab.stage, canary)
    assert final["verdict"] == "rollback"
    assert final["blame"] == "envoy_errors"
    [row] = [row for row in final["rows"] if row["metric"] == "errors"]
    assert row["canary"]["bad"] == 0, "the servers know of nothing"


def test_a_canary_that_loses_nothing_passes(shared_lab: SharedLab, canary: Run) -> None:
    final = judged(shared_lab.stage, canary)
    assert final["verdict"] == "advance", final["reason"]
    [row] = [row for row in final["rows"] if row["metric"] == "envoy_errors"]
    assert row["canary"]["n"] > 50
    assert row["canary"]["bad"] == 0
