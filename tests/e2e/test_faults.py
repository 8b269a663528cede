"""A live canary at half of the traffic loses its picker or its pods: what the judge says, and how soon."""

from __future__ import annotations

import pytest

from bench.shared import SharedLab
from bench.stage import Stage
from inference_rollouts.core.objects.api_groups import POOL_APIS
from inference_rollouts.rollout.run import Run
from tests.support.e2e.judged import BAKE, judged

pytestmark = pytest.mark.timeout(600)


def scale(stage: Stage, deployment: str, replicas: int) -> None:
    patch = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
    stage.cluster.patch("apps/v1", "Deployment", deployment, patch)


def fail_mode(stage: Stage, pool: str, mode: str) -> None:
    patch = [{"op": "replace", "path": "/spec/endpointPickerRef/failureMode", "value": mode}]
    stage.cluster.patch(POOL_APIS[0], "InferencePool", pool, patch)


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("FailClose", "its failure mode FailClose drops all requests"),
        (
            "FailOpen",
            "HTTP 4xx",
        ),  # requests pass, but nobody rewrites the alias that half of the clients ask for
    ],
)
def test_a_canary_whose_picker_dies(shared_lab: SharedLab, canary: Run, mode: str, why: str) -> None:
    stage, pool = shared_lab.stage, canary.plan.canary
    fail_mode(stage, pool, mode)
    final, seconds = judged(stage, canary, lambda: scale(stage, f"{pool}-epp", 0))
    assert final["verdict"] == "rollback"
    assert why in final["reason"]
    assert seconds < BAKE


def test_a_canary_that_loses_all_its_pods(shared_lab: SharedLab, canary: Run) -> None:
    stage = shared_lab.stage
    final, seconds = judged(stage, canary, lambda: scale(stage, canary.plan.canary, 0))
    assert final["verdict"] == "rollback"
    assert final["reason"] == "The canary has no ready endpoints."
    assert seconds < BAKE
