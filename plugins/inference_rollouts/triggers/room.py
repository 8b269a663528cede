"""Waits for a window, for room and until nobody holds the rollout, and watches the step before meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.control import went_on_at
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.schedule.zones import local_and_utc
from inference_rollouts.hooks.sharing import Shared, sharing
from inference_rollouts.rollout.checks import check_now
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.publishing import Publisher
from inference_rollouts.triggers.ready import ReadyTrigger
from inference_rollouts.triggers.watch import unless_alarmed

log = logging.getLogger(__name__)

LONGEST_SLEEP = 60.0  # seconds; a clock that is set meanwhile, or a machine that slept, is noticed then


class RoomTrigger(ReadyTrigger):
    """A ReadyTrigger that ends also with an alarm, after taking the canary's traffic away itself.

    `judgement` let the step before pass; None before the first, when the canary has no traffic. Room is asked
    for from `opens` (Unix time) on. A pause takes nothing of the time that there is for it.
    """

    def __init__(self, *, judgement: dict[str, Any] | None, opens: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.judgement = judgement
        self.opens = opens

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path, kwargs = super().serialize()
        return path, {**kwargs, "judgement": self.judgement, "opens": self.opens}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        if self.judgement is None:
            yield await self._room()
        else:
            publisher = Publisher(self, frozen=Frozen.from_json(self.frozen))

            async def tell(observer: StepObserver, judgement: Judgement) -> None:
                await publisher.publish(observer.status(judgement, self.waits_for))

            yield await unless_alarmed(self._room(), self.frozen, self.judgement, "waiting", tell)

    def status(self, frozen: Frozen) -> Status | None:
        """Once there is a step to watch, the watch publishes it."""
        return super().status(frozen) if self.judgement is None else None

    def look(self, run: Run) -> Readiness:
        held = check_now(run, "free")
        if held.phase is Phase.READY:
            if run.cluster.time() >= self.deadline:  # which who waited before us may have put off
                self.deadline = max(self.deadline, self._went_on(run) + run.plan.deadlines.route)
            return super().look(run)
        if held.phase is Phase.FAILED and self.judgement is None:
            return held
        self.deadline = run.cluster.time() + run.plan.deadlines.route
        return Readiness(Phase.WAITING, held.message)  # what failed the watch ends, with its reflex

    async def _room(self) -> TriggerEvent:
        frozen = Frozen.from_json(self.frozen)
        self.waits_for = f"The next window opens at {local_and_utc(self.opens, frozen.calendar.zone)}."
        async with sharing(frozen.plan) as shared:
            run, left = shared.run_of(frozen), self.opens - await shared.time(frozen)
            while left > 0 and not await self._is_aborted(shared, run):
                await asyncio.sleep(min(left, LONGEST_SLEEP))
                left = self.opens - await shared.time(frozen)
            return await self.ready()

    @staticmethod
    def _went_on(run: Run) -> float:
        """When it last went on after a pause (Unix seconds); 0 where nobody knows of any."""
        try:
            return went_on_at(run.traffic.claims())
        except Exception as error:
            log.warning("whether it was paused is not known: %s", error)
            return 0.0

    async def _is_aborted(self, shared: Shared, run: Run) -> bool:
        return (await shared.look(lambda: check_now(run, "free"))).phase is Phase.FAILED
