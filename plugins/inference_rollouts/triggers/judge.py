"""Looks at a step until its verdict is final; on an alarm it takes the canary's traffic away itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.judging.judge import Carried, Judgement, StepContext, Verdict
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.step_observer import Looker

TELL_EVERY = 10.0  # seconds between two log lines that say the same


class JudgeTrigger(BaseTrigger):
    """One step's judge. Its event holds `judgement`, `record` and `points`, or `error` if the route was lost.

    Everything is recomputed from `since`, the time of the shift, so another triggerer may take over at
    any look.
    """

    def __init__(
        self, *, frozen: dict[str, Any], step: int, since: float, carried: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.frozen = frozen
        self.step = step
        self.since = since
        self.carried = carried

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "frozen": self.frozen,
            "step": self.step,
            "since": self.since,
            "carried": self.carried,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        frozen = Frozen.from_json(self.frozen)
        carried = Carried.from_json(self.carried) if self.carried else Carried()
        looker = Looker(frozen, frozen.plan.step_context(self.step, self.since), carried)
        try:
            judgement = await self._judge(looker)
        except RolloutError as error:
            yield TriggerEvent({"error": str(error)})
            return
        yield TriggerEvent(await asyncio.to_thread(looker.finish, judgement, f"step_{self.step}.jsonl"))

    async def _judge(self, looker: Looker) -> Judgement:
        """The first final judgement."""
        said: tuple[Verdict, str | None] | None = None
        told = 0.0
        while True:
            judgement = await asyncio.to_thread(looker.look, time.time())
            opinion = (judgement.verdict, judgement.blame)
            if opinion != said or judgement.time >= told + TELL_EVERY:
                said, told = opinion, judgement.time
                self.log.info("%s", _sentence(looker.context, judgement))
            if judgement.verdict.final:
                return judgement
            await asyncio.sleep(max(0.05, looker.next_look(time.time()) - time.time()))


def _sentence(step: StepContext, said: Judgement) -> str:
    warnings = "".join(f" Warning: {warning}" for warning in said.warnings)
    return f"step {step.index} at {step}: {said.verdict.value}: {said.reason}{warnings}"
