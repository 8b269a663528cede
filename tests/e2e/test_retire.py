"""A pool that a rollout created is left, scaled down, brought back, and retired: no client notices."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from bench.shared import SharedLab
from bench.stage import PATIENCE, Stage, example, ready, until
from inference_rollouts.core.errors import RetirementRefused
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.plan.retention import Action, Retention
from inference_rollouts.core.retirement.idle import Observation
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.retirement import Subject
from inference_rollouts.rollout.run import Run
from inference_rollouts.triggers import idle
from inference_rollouts.triggers.idle import IdleTrigger

pytestmark = pytest.mark.timeout(600)

STREAM = 4.0  # seconds
GO_ON = 160  # requests that clients send afterwards


def move(stage: Stage, run: Run, stable: str, canary: str) -> None:
    """All traffic from one pool to the other, as a rollout that is promoted does."""
    plan = run.plan.model_copy(update={"stable": stable, "canary": canary})
    frozen = replace(run.frozen, run=f"rollout_llm/{canary}", token=f"to {canary}", plan=plan)
    traffic = stage.open_run(frozen).traffic
    traffic.attach()
    for index, step in enumerate(plan.all_steps, start=1):
        traffic.permit(index - 1, time.time())
        traffic.shift(index, step, time.time())
    traffic.permit(len(plan.all_steps), time.time())
    traffic.promote(time.time())


def there_and_back(stage: Stage, run: Run) -> None:
    """The canary served, and is left with weight 0."""
    move(stage, run, run.plan.stable, run.plan.canary)
    stage.until_served(GO_ON)
    move(stage, run, run.plan.canary, run.plan.stable)


def retired(stage: Stage, plan: Plan, action: Action) -> tuple[float, float]:
    """Retire the canary of a plan; when it was decided, and since when the pool had been quiet."""
    plan = plan.model_copy(update={"retention": Retention(longest_stream=STREAM)})
    wanted = Retirement(plan, plan.canary, action)
    wanted = replace(wanted, objects=subject_of(stage, wanted).find())
    since = asyncio.run(idle_event(wanted))["since"]
    decided = time.time()
    decoded = Retirement.from_json(wanted.to_json())
    until(lambda: subject_of(stage, decoded).reconcile().phase == "ready", "what is retired to be gone")
    return decided, since


def subject_of(stage: Stage, retirement: Retirement) -> Subject:
    return kind_of(retirement.plan).retired(stage.clients, retirement)


async def idle_event(retirement: Retirement) -> dict[str, Any]:
    trigger = IdleTrigger(retirement=retirement.to_json(), deadline=time.time() + PATIENCE)
    [event] = [event.payload async for event in trigger.run()]
    return dict(event)


@contextmanager
def held_after_one() -> Iterator[tuple[threading.Event, threading.Event]]:
    """The first event says that a second observation of a retirement is due, which waits for the other."""
    due, go_on = threading.Event(), threading.Event()
    observe, calls = idle.observe, 0

    def held(*asked: Any) -> Observation:
        nonlocal calls
        calls += 1
        if calls == 2:
            due.set()
            assert go_on.wait(PATIENCE)
        return observe(*asked)

    with patch.object(idle, "observe", held):
        yield due, go_on


def test_a_pool_that_serves_is_refused(shared_lab: SharedLab, canary: Run) -> None:
    plan = canary.plan
    move(shared_lab.stage, canary, plan.stable, plan.canary)
    with pytest.raises(RetirementRefused, match="gives llm-pool-version-2 weight 100"):
        retired(shared_lab.stage, plan, Action.REMOVE)
    move(shared_lab.stage, canary, plan.canary, plan.stable)
    shared_lab.stage.until_served(GO_ON)
    assert shared_lab.lost == {}


def test_a_pool_is_scaled_down_only_after_the_longest_stream_and_comes_up_again(
    shared_lab: SharedLab, canary: Run
) -> None:
    stage, plan = shared_lab.stage, canary.plan.as_pool_plan
    there_and_back(stage, canary)
    left = time.time()
    decided, since = retired(stage, plan, Action.SCALE_DOWN)
    assert since > left
    assert decided - since >= STREAM
    assert stage.pods(plan.canary) == []
    for manifest in canary.frozen.manifests:
        stage.cluster.apply(manifest)
    until(lambda: ready(canary, "workloads"), "the pool to come up again")
    assert len(stage.pods(plan.canary)) == plan.workload.replicas
    stage.until_served(GO_ON)
    assert shared_lab.lost == {}


def test_a_retired_pool_leaves_nothing_behind_and_no_client_loses_a_request(
    shared_lab: SharedLab, canary: Run
) -> None:
    stage, plan = shared_lab.stage, canary.plan
    there_and_back(stage, canary)
    retired(stage, plan, Action.REMOVE)
    assert stage.weights() == {plan.stable: 100}
    left = [
        m
        for m in canary.frozen.manifests
        if stage.cluster.find(m["apiVersion"], m["kind"], m["metadata"]["name"])
    ]
    assert left == []
    assert stage.pods(plan.canary) == []
    assert stage.cluster.find("apps/v1", "Deployment", plan.stable) is not None
    stage.until_served(GO_ON)
    assert shared_lab.lost == {}


def test_an_adapter_is_unloaded_when_nobody_asks_for_it_any_more(lab: SharedLab) -> None:
    stage, servers = lab.stage, lab.stage.clients.servers
    plan = example("food-review", retention={"longest_stream": STREAM}).as_adapter_plan
    with pytest.raises(RetirementRefused, match="sends requests to food-review-1"):
        subject_of(stage, Retirement(plan, plan.stable, Action.REMOVE)).find()
    for url in stage.servers(plan.pool):
        servers.load_adapter(url, plan.canary, plan.path)
    wanted = Retirement(plan, plan.canary, Action.REMOVE)
    with held_after_one() as (due, go_on), ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(asyncio.run, idle_event(wanted))
        try:
            assert due.wait(PATIENCE)
            assert stage.ask(plan.canary) == 200
            last = time.time()
        finally:
            go_on.set()
        since = waiting.result(2 * PATIENCE)["since"]
    assert since >= last
    assert subject_of(stage, wanted).reconcile().phase == "ready"
    for url in stage.servers(plan.pool):
        names = {served.name for served in servers.models(url)}
        assert "food-review-1" in names
        assert plan.canary not in names
    stage.until_served(GO_ON)
    assert lab.lost == {}
