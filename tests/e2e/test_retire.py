"""A pool that a rollout created is left, scaled down, brought back, and retired: no client notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from bench.reflex import ROUTE, Theatre, theatre
from lab.host.state import CHECKOUT, StateDirectory

pytestmark = pytest.mark.timeout(200)

STREAM = 4.0  # seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retire") / "lab"


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Theatre]:
    with theatre(folder) as running:
        yield running


def move(stage: Theatre, stable: str, canary: str) -> None:
    """All traffic from one pool to the other, as a rollout that is promoted does."""
    from inference_rollouts.rollout.traffic import Traffic

    plan = stage.frozen.plan.model_copy(update={"stable": stable, "canary": canary})
    traffic = Traffic(stage.cluster, plan, f"rollout_llm/{canary}", stage.frozen.targets)
    traffic.attach()
    for step, percent in enumerate((50, 100), start=1):
        traffic.shift(percent, step, time.time())
    traffic.promote()


def retired(stage: Theatre, action: str) -> tuple[float, float]:
    """Retire the canary of the stage; when it was decided, and since when the pool had been quiet."""
    from inference_rollouts.core.plan.retention import Action, Retention
    from inference_rollouts.core.retirement.retirement import Retirement
    from inference_rollouts.rollout.retirement import subject_of
    from inference_rollouts.triggers.idle import IdleTrigger

    retention = Retention(longest_stream=STREAM)
    plan = stage.frozen.plan.model_copy(update={"retention": retention})
    wanted = Retirement(plan, plan.canary, Action(action))
    wanted = replace(wanted, objects=subject_of(wanted).find())
    trigger = IdleTrigger(retirement=wanted.to_json(), deadline=time.time() + 60)
    since = asyncio.run(_event(trigger))["since"]
    decided = time.time()
    until(lambda: subject_of(Retirement.from_json(wanted.to_json())).reconcile().phase == "ready")
    return decided, since


async def _event(trigger: Any) -> dict[str, Any]:
    return next(iter([event.payload async for event in trigger.run()]))


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def lost(folder: Path) -> dict[str, int]:
    url = StateDirectory(folder).read()["loadgen"]["url"]
    outcomes = requests.get(f"{url}/stats", timeout=5).json()["totals"]["outcomes"]
    return {cause: count for cause, count in outcomes.items() if cause != "ok" and count}


def weights(stage: Theatre) -> dict[str, int]:
    return {
        ref["name"]: ref["weight"] for ref in stage.cluster.get(*ROUTE)["spec"]["rules"][0]["backendRefs"]
    }


def pods(stage: Theatre) -> int:
    return len(stage.cluster.select("v1", "Pod", {"inference-pool": stage.frozen.plan.canary}))


def test_a_pool_that_serves_is_refused(stage: Theatre) -> None:
    from inference_rollouts.core.errors import RetirementRefused

    plan = stage.frozen.plan
    move(stage, plan.stable, plan.canary)
    with pytest.raises(RetirementRefused, match="gives llm-pool-version-2 weight 100"):
        retired(stage, "remove")
    move(stage, plan.canary, plan.stable)


def test_a_pool_is_scaled_down_only_after_the_longest_stream_and_comes_up_again(
    stage: Theatre, folder: Path
) -> None:
    from inference_rollouts.rollout.checks import CHECKS

    left = time.time()
    decided, since = retired(stage, "scale-down")
    assert since > left, "its last answers were still running"
    assert decided - since >= STREAM
    assert pods(stage) == 0
    for manifest in stage.frozen.manifests:
        stage.cluster.apply(manifest)
    until(lambda: CHECKS["workloads"](stage.cluster, stage.frozen).phase == "ready")
    assert pods(stage) == stage.frozen.plan.workload.replicas
    assert lost(folder) == {}


def test_a_retired_pool_leaves_nothing_behind_and_no_client_loses_a_request(
    stage: Theatre, folder: Path
) -> None:
    retired(stage, "remove")
    plan = stage.frozen.plan
    assert weights(stage) == {plan.stable: 100}
    left = [
        m
        for m in stage.frozen.manifests
        if stage.cluster.find(m["apiVersion"], m["kind"], m["metadata"]["name"])
    ]
    assert left == []
    assert pods(stage) == 0
    assert stage.cluster.find("apps/v1", "Deployment", plan.stable) is not None
    time.sleep(2)  # clients go on
    assert lost(folder) == {}


def test_an_adapter_is_unloaded_when_nobody_asks_for_it_any_more(stage: Theatre, folder: Path) -> None:
    from inference_rollouts.clients.model_server import load_adapter, models
    from inference_rollouts.core.errors import RetirementRefused
    from inference_rollouts.core.plan.plan import parse_plan
    from inference_rollouts.core.plan.retention import Action, Retention
    from inference_rollouts.core.retirement.retirement import Retirement
    from inference_rollouts.rollout.retirement import subject_of
    from inference_rollouts.triggers.idle import IdleTrigger

    plan = parse_plan(yaml.safe_load((CHECKOUT / "include/rollouts/food-review.yaml").read_text()))
    plan = plan.model_copy(update={"retention": Retention(longest_stream=STREAM)})
    with pytest.raises(RetirementRefused, match="sends requests to food-review-1"):
        subject_of(Retirement(plan, plan.stable, Action.REMOVE)).find()
    found = stage.cluster.select("v1", "Pod", {"inference-pool": plan.pool})
    servers = [f"http://{pod['status']['podIP']}:8000" for pod in found]
    for server in servers:
        load_adapter(server, plan.canary, plan.path)
    url = f"{StateDirectory(folder).read()['gateway']['url']}/v1/completions"
    asked = {"model": plan.canary, "prompt": "Say hello.", "max_tokens": 4}
    trigger = IdleTrigger(
        retirement=Retirement(plan, plan.canary, Action.REMOVE).to_json(), deadline=time.time() + 60
    )
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(asyncio.run, _event(trigger))
        time.sleep(STREAM / 2)
        answered = requests.post(url, json=asked, timeout=10)
        last = time.time()
        since = waiting.result(90)["since"]
    assert answered.status_code == 200
    assert since >= last
    assert subject_of(Retirement(plan, plan.canary, Action.REMOVE)).reconcile().phase == "ready"
    for server in servers:
        assert {"food-review-1"} <= {served.name for served in models(server)}
        assert plan.canary not in {served.name for served in models(server)}
    assert lost(folder) == {}
