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
from inference_rollouts.rollout.step_observer import Looker

LEG = 120.0  # seconds after which a watch begins anew with the evidence so far, so that it stays small


class AskTrigger(HITLTrigger):
    """A HITLTrigger that ends also with an alarm, after taking the canary's traffic away itself.

    Its event is HITLTrigger's, or holds `judgement`, `record` and `points` of an alarm, or `error` if the
    route was lost. `said` is the judgement that raised the question. Mostly an answer does not come this way:
    the API server resumes the task with it, and this trigger is ended.
    """

    def __init__(self, *, frozen: dict[str, Any], said: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frozen = frozen
        self.said = said

    def serialize(self) -> tuple[str, dict[str, Any]]:
        _, kwargs = super().serialize()
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {**kwargs, "frozen": self.frozen, "said": self.said}

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
        said = Judgement.from_json(self.said)
        while True:
            try:
                looker, said = await self._leg(said)
            except RolloutError as error:
                return TriggerEvent({"error": str(error)})
            if said.verdict is Verdict.ROLLBACK:
                break
        self.log.warning("step %d at %d %%: %s", said.step, said.weight, said.reason)
        return TriggerEvent(await asyncio.to_thread(looker.finish, said, f"step_{said.step}.asked.jsonl"))

    async def _leg(self, said: Judgement) -> tuple[Looker, Judgement]:
        """Look on from where a judgement ended, at most `LEG` ago, until an alarm or for `LEG` seconds."""
        begun = time.time()
        since = max(said.windows_end or said.time, begun - LEG)
        frozen, context = watched(Frozen.from_json(self.frozen), said.step, since)
        looker = Looker(frozen, context, said.carried)
        while True:
            said = await asyncio.to_thread(looker.look, time.time())
            if said.verdict is Verdict.ROLLBACK or said.time > begun + LEG:
                return looker, said
            await asyncio.sleep(max(0.05, looker.next_look(time.time()) - time.time()))
