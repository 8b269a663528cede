"""Watches a step whose judge has concluded, while something else is waited for: an alarm waits for nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.judging.judge import Judgement, Verdict
from inference_rollouts.core.reporting.approval import watched
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.sharing import Shared, sharing
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.event import event_of, failure
from inference_rollouts.triggers.judge import pause

ASKED = "asked"  # what is done meanwhile where a person is asked
LEG = 120.0  # seconds after which a watch begins anew with the evidence so far, so that it stays small

log = logging.getLogger(__name__)

Tell = Callable[[StepObserver, Judgement], Awaitable[None]]
"""What is done with each observation."""


async def unless_alarmed(
    awaited: Coroutine[Any, Any, TriggerEvent],
    frozen: Mapping[str, Any],
    judgement: Mapping[str, Any],
    meanwhile: str,
    tell: Tell,
) -> TriggerEvent:
    """The event that is awaited, or that of `alarm` if it comes first; the other one is ended."""
    return await first(alarm(frozen, judgement, meanwhile, tell), awaited)


async def first(*awaited: Coroutine[Any, Any, TriggerEvent]) -> TriggerEvent:
    """The event that comes first, of several at once that of the first; the others are ended."""
    tasks = [asyncio.create_task(each) for each in awaited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()


async def alarm(
    frozen: Mapping[str, Any], judgement: Mapping[str, Any], meanwhile: str, tell: Tell
) -> TriggerEvent:
    """Ends only with an alarm, after taking the canary's traffic away, or when the route was lost to others.

    The event has `judgement`, `record` and `points` of the alarm, or `error`. `judgement` is what the judge
    had concluded; `meanwhile` names the record of the watch. Each observation that is no alarm is told.
    """
    run, last = Frozen.from_json(frozen), Judgement.from_json(judgement)
    async with sharing(run.plan) as shared:
        while True:
            try:
                observer, last = await _leg(shared, run, last, meanwhile, tell)
            except RolloutError as error:
                return event_of(run, failure(error))
            if last.verdict is Verdict.ROLLBACK:
                break
        log.warning("step %d at %d %%: %s", last.step, last.weight, last.reason)
        name = f"step_{last.step}.{meanwhile}.jsonl"
        return event_of(run, await shared.finish(observer, last, name))


async def _leg(
    shared: Shared, frozen: Frozen, judgement: Judgement, meanwhile: str, tell: Tell
) -> tuple[StepObserver, Judgement]:
    """Observe on from where a judgement ended, at most `LEG` ago, until an alarm or for `LEG` seconds."""
    begun = await shared.time(frozen)
    since = max(judgement.windows_end or judgement.time, begun - LEG)
    watching, context = watched(frozen, judgement.step, since)
    asks = meanwhile == ASKED
    carried, known = judgement.handed_on, judgement.time
    observer = shared.observer(watching, context, carried, asks=asks, known=known)
    while True:
        judgement = await shared.observe(observer, await shared.time(frozen))
        if judgement.verdict is Verdict.ROLLBACK or judgement.time > begun + LEG:
            return observer, observer.handing_on(judgement)
        await tell(observer, judgement)
        await asyncio.sleep(pause(observer))
