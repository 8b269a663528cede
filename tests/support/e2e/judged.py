"""A step of a live canary that breaks, or does not: what the judge says in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from bench.stage import PATIENCE, Stage, judgement, until
from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.hooks.sharing import Shared
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.judge import JudgeTrigger

BAKE = DEADLINE = 120.0  # seconds, longer than anything takes: what ends a step before is an alarm


@contextmanager
def observed() -> Iterator[list[Judgement]]:
    """What observers in this process say, as they say it."""
    judgements: list[Judgement] = []
    observe = Shared.observe

    async def recorded(shared: Shared, observer: StepObserver, now: float) -> Judgement:
        judgements.append(await observe(shared, observer, now))
        return judgements[-1]

    with patch.object(Shared, "observe", recorded):
        yield judgements


def judged(
    stage: Stage, canary: Run, breaking: Callable[[], None], bake: float = BAKE
) -> tuple[dict[str, Any], float]:
    """The final judgement of a step that breaks, and its seconds; the route is as found afterwards."""
    plan = canary.plan
    analysis = plan.analysis.model_copy(update={"margin": None, "progress_deadline": DEADLINE})
    steps = (plan.steps[0].model_copy(update={"weight": 50, "bake": bake}), *plan.steps[1:])
    plan = plan.model_copy(update={"analysis": analysis, "steps": steps})
    run = stage.open_run(replace(canary.frozen, plan=plan))
    since, spec = time.time(), stage.route()["spec"]
    run.traffic.attach()
    try:
        run.traffic.permit(0, since)
        run.traffic.shift(1, plan.all_steps[0], since)
        trigger = JudgeTrigger(frozen=run.frozen.to_json(), step=1, since=since)
        with observed() as judgements, ThreadPoolExecutor(1) as thread:
            judging = thread.submit(asyncio.run, judgement(trigger))
            until(lambda: any(each.canary.requests for each in judgements), "a healthy interval")
            broken = time.time()
            breaking()
            final = judging.result(BAKE + DEADLINE + PATIENCE)
        return final, final["time"] - broken
    finally:
        run.traffic.way_back.restore("the test is over", time.time())
        assert stage.route()["spec"] == spec
