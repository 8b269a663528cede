"""A live canary at half of the traffic loses its picker or its pods: what the judge says, and how soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from bench.reflex import ROUTE, Theatre, judgement, theatre

pytestmark = pytest.mark.timeout(200)

POOL_API = "inference.networking.k8s.io/v1"
BAKE, PATIENCE = 6.0, 3.0  # seconds; a step that may not pass is rolled back after both


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("faults") / "lab") as running:
        yield running


def judged(stage: Theatre, breaking: Callable[[], None]) -> tuple[dict[str, Any], float]:
    """The final judgement of a step that breaks, and its seconds; the route is as found afterwards."""
    from inference_rollouts.core.judging.judge import Carried
    from inference_rollouts.rollout.step_observer import StepObserver
    from inference_rollouts.triggers.judge import JudgeTrigger

    plan = stage.frozen.plan
    analysis = plan.analysis.model_copy(update={"margin": None, "progress_deadline": PATIENCE})
    steps = (plan.steps[0].model_copy(update={"bake": BAKE}), *plan.steps[1:])
    frozen = replace(stage.frozen, plan=plan.model_copy(update={"analysis": analysis, "steps": steps}))
    since, found = time.time(), stage.cluster.get(*ROUTE)["spec"]
    traffic = StepObserver(frozen, frozen.plan.step_context(1, since), Carried()).traffic
    traffic.attach()
    try:
        traffic.shift(50, 1, since)
        trigger = JudgeTrigger(frozen=frozen.to_json(), step=1, since=since)
        with ThreadPoolExecutor(1) as thread:
            judging = thread.submit(asyncio.run, judgement(trigger))
            time.sleep(plan.initial_delay + 1)
            broken = time.time()
            breaking()
            said = judging.result(90)
        return said, said["time"] - broken
    finally:
        traffic.restore("the test is over")
        assert stage.cluster.get(*ROUTE)["spec"] == found


def scale(stage: Theatre, name: str, replicas: int) -> None:
    stage.cluster.patch(
        "apps/v1", "Deployment", name, [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
    )


def fail_mode(stage: Theatre, mode: str) -> None:
    path = "/spec/endpointPickerRef/failureMode"
    ops = [{"op": "replace", "path": path, "value": mode}]
    stage.cluster.patch(POOL_API, "InferencePool", stage.frozen.plan.canary, ops)


def healed(stage: Theatre) -> None:
    from inference_rollouts.rollout.checks import CHECKS

    for manifest in stage.frozen.manifests:
        stage.cluster.apply(manifest)
    deadline = time.monotonic() + 60
    while CHECKS["workloads"](stage.cluster, stage.frozen).phase != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.2)


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
def test_a_canary_whose_picker_dies(stage: Theatre, mode: str, why: str) -> None:
    fail_mode(stage, mode)
    try:
        said, seconds = judged(stage, lambda: scale(stage, f"{stage.frozen.plan.canary}-epp", 0))
    finally:
        scale(stage, f"{stage.frozen.plan.canary}-epp", 1)
        fail_mode(stage, "FailOpen")
        healed(stage)
    assert said["verdict"] == "rollback"
    assert why in said["reason"]
    assert seconds < BAKE


def test_a_canary_that_loses_all_its_pods(stage: Theatre) -> None:
    try:
        said, seconds = judged(stage, lambda: scale(stage, stage.frozen.plan.canary, 0))
    finally:
        scale(stage, stage.frozen.plan.canary, stage.frozen.plan.workload.replicas)
        healed(stage)
    assert said["verdict"] == "rollback"
    assert said["reason"] == "The canary has no ready endpoints."
    assert seconds < BAKE
