"""Waits for a person's answer and watches the step meanwhile: an alarm does not wait for anybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.standard.triggers.hitl import HITLTrigger
from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.judging.judge import Judgement, Verdict
from inference_rollouts.core.reporting.approval import watched
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.clients import open_run
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.judge import pause

LEG = 120.0  # seconds after which a watch begins anew with the evidence so far, so that it stays small


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
        alarm, answer = asyncio.create_task(self._alarm()), asyncio.create_task(self._answer())
        try:
            await asyncio.wait((alarm, answer), return_when=asyncio.FIRST_COMPLETED)
            yield (alarm if alarm.done() else answer).result()
        finally:
            alarm.cancel()
            answer.cancel()

    async def _answer(self) -> TriggerEvent:
        """The person's, or at the deadline their silence."""
        while True:
            try:
                return await anext(aiter(super().run()))
            except Exception as error:
                self.log.warning("cannot see whether somebody has answered: %s", error)
                await asyncio.sleep(self.poke_interval)

    async def _alarm(self) -> TriggerEvent:
        """Ends only with an alarm, or when the route was lost to others."""
        judgement = Judgement.from_json(self.judgement)
        while True:
            try:
                observer, judgement = await self._leg(judgement)
            except RolloutError as error:
                return TriggerEvent({"error": str(error)})
            if judgement.verdict is Verdict.ROLLBACK:
                break
        self.log.warning("step %d at %d %%: %s", judgement.step, judgement.weight, judgement.reason)
        name = f"step_{judgement.step}.asked.jsonl"
        return TriggerEvent(await asyncio.to_thread(observer.finish, judgement, name))

    async def _leg(self, judgement: Judgement) -> tuple[StepObserver, Judgement]:
        """Observe on from where a judgement ended, at most `LEG` ago, until an alarm or for `LEG` seconds."""
        begun = time.time()
        since = max(judgement.windows_end or judgement.time, begun - LEG)
        frozen, context = watched(Frozen.from_json(self.frozen), judgement.step, since)
        observer = StepObserver(open_run(frozen), context, judgement.carried)
        while True:
            judgement = await asyncio.to_thread(observer.observe, time.time())
            if judgement.verdict is Verdict.ROLLBACK or judgement.time > begun + LEG:
                return observer, judgement
            await asyncio.sleep(pause(observer))
