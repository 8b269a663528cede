"""Waits for a person's answer and watches the step meanwhile: an alarm does not wait for anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.standard.triggers.hitl import HITLTrigger
from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.publishing import Publisher
from inference_rollouts.triggers.watch import unless_alarmed


class AskTrigger(HITLTrigger):
    """A HITLTrigger that ends also with an alarm, after taking the canary's traffic away itself.

    Its event is HITLTrigger's, or has `judgement`, `record` and `points` of an alarm, or `error` if the
    route was lost. `judgement` raised the question. Mostly an answer does not come this way:
    the API server resumes the task with it, and this trigger is ended.
    """

    def __init__(self, *, frozen: dict[str, Any], judgement: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frozen = frozen
        self.judgement = judgement

    def serialize(self) -> tuple[str, dict[str, Any]]:
        _, kwargs = super().serialize()
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {**kwargs, "frozen": self.frozen, "judgement": self.judgement}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        publisher = Publisher(self)

        async def tell(observer: StepObserver, judgement: Judgement) -> None:
            await publisher.publish(observer.status(judgement, "a person is asked"))

        yield await unless_alarmed(self._answer(), self.frozen, self.judgement, "asked", tell)

    async def _answer(self) -> TriggerEvent:
        """The person's, or at the deadline their silence."""
        while True:
            try:
                return await anext(aiter(super().run()))
            except Exception as error:
                self.log.warning("cannot see whether somebody has answered: %s", error)
                await asyncio.sleep(self.poke_interval)
