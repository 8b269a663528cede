"""Waits until there is room for a raise, and watches the step before it meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.publishing import Publisher
from inference_rollouts.triggers.ready import ReadyTrigger
from inference_rollouts.triggers.watch import unless_alarmed


class RoomTrigger(ReadyTrigger):
    """A ReadyTrigger that ends also with an alarm, after taking the canary's traffic away itself.

    `judgement` let the step before pass; None before the first, when the canary has no traffic.
    """

    def __init__(self, *, judgement: dict[str, Any] | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.judgement = judgement

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path, kwargs = super().serialize()
        return path, {**kwargs, "judgement": self.judgement}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        if self.judgement is None:
            yield await self.ready()
        else:
            publisher = Publisher(self)

            async def tell(observer: StepObserver, judgement: Judgement) -> None:
                await publisher.publish(observer.status(judgement, self.waits_for))

            yield await unless_alarmed(self.ready(), self.frozen, self.judgement, "waiting", tell)

    def status(self, frozen: Frozen) -> Status | None:
        """Once there is a step to watch, the watch publishes it."""
        return super().status(frozen) if self.judgement is None else None
