"""Waits for a person's answer and watches the step meanwhile: an alarm does not wait for anybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.triggers.hitl import HITLTrigger
from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.core.reporting.approval import GO_ON
from inference_rollouts.core.routing.claim import Command
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.helm import Helm
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.herald import Herald
from inference_rollouts.triggers.publishing import Publisher
from inference_rollouts.triggers.watch import ASKED, first, unless_alarmed


class Patience:
    """Until when an answer is waited for: a pause takes nothing of that time, and has no end of its own.

    What pauses took is read from the claims each time, so that whoever goes on with the waiting knows it. It
    was `asked` at that time (Unix seconds).
    """

    def __init__(self, end: datetime | None, timeout: float) -> None:
        self._end = end
        self.asked = (end.timestamp() if end else time.time()) - timeout
        self._paused = 0.0

    def until(self, helm: Helm, now: float, behind: float = 0.0) -> datetime | None:
        """By our own clock, which is so many seconds `behind` that of the end and of `now`; None for ever."""
        self._paused = max(self._paused, helm.paused_seconds(self.asked, now))
        later = timedelta(seconds=self._paused - behind)
        return None if helm.is_paused or not self._end else self._end + later


class AskTrigger(HITLTrigger):
    """A HITLTrigger that ends also with an alarm, after taking the canary's traffic away itself.

    Its event is HITLTrigger's, or has `judgement`, `record` and `points` of an alarm, or `error` if the
    route was lost. A command to raise ends it as an answer does. `judgement` raised the question. Mostly an
    answer does not come this way: the API server resumes the task with it, and this trigger is ended.
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
        frozen = Frozen.from_json(self.frozen)
        publisher, herald = Publisher(self, frozen=frozen), Herald(frozen)
        commanded = asyncio.Queue[Command]()
        patience, looked = Patience(self.timeout_datetime, frozen.plan.approvals.timeout), asyncio.Event()
        asking = asyncio.create_task(herald.ask(Judgement.from_json(self.judgement), patience.asked))

        async def tell(observer: StepObserver, judgement: Judgement) -> None:
            now = observer.run.cluster.time()
            self.timeout_datetime = patience.until(observer.helm, now, now - time.time())
            if command := observer.helm.command(judgement):
                commanded.put_nowait(command)
            looked.set()
            await publisher.publish(observer.status(judgement, "a person is asked"))

        awaited = first(self._answer(looked), self._command(commanded))
        try:
            yield await unless_alarmed(awaited, self.frozen, self.judgement, ASKED, tell)
        finally:
            asking.cancel()

    async def _command(self, commanded: asyncio.Queue[Command]) -> TriggerEvent:
        """A command to raise is an answer."""
        command = await commanded.get()
        person = {"id": command.who, "name": str(command)}
        return TriggerEvent({"chosen_options": [GO_ON], "responded_by_user": person, "commanded": True})

    async def _answer(self, looked: asyncio.Event) -> TriggerEvent:
        """The person's, or at the deadline their silence; not before it is known whether it is paused."""
        await looked.wait()
        while True:
            try:
                return await anext(aiter(super().run()))
            except Exception as error:
                self.log.warning("cannot see whether somebody has answered: %s", error)
                await asyncio.sleep(self.poke_interval)
