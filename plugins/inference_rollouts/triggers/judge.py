"""Looks at a step until its verdict is final; on an alarm it takes the canary's traffic away itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.frozen import Frozen
from inference_rollouts.core.judge import Carried, Verdict
from inference_rollouts.hooks.looking import Look, Looker

TELL_EVERY = 10.0  # seconds between two log lines that say the same


class JudgeTrigger(BaseTrigger):
    """One step's judge. Its event is `{"judgement": ...}`, or `{"error": ...}` when the route was lost.

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
        carried = Carried.from_json(self.carried) if self.carried else Carried()
        looker = Looker(Frozen.from_json(self.frozen), self.step, self.since, carried)
        said: tuple[Verdict, str | None] | None = None
        told = 0.0
        while True:
            try:
                look = await asyncio.to_thread(looker.look, time.time())
            except RolloutError as error:
                yield TriggerEvent({"error": str(error)})
                return
            opinion = (look.judgement.verdict, look.judgement.blame)
            if opinion != said or look.judgement.time >= told + TELL_EVERY:
                said, told = opinion, look.judgement.time
                self.log.info("%s", look)
            if look.judgement.verdict.final:
                if look.judgement.verdict is Verdict.ROLLBACK:
                    await asyncio.to_thread(self._retreat, looker, look)
                yield TriggerEvent({"judgement": look.judgement.to_json()})
                return
            await asyncio.sleep(max(0.05, looker.next_look(time.time()) - time.time()))

    def _retreat(self, looker: Looker, look: Look) -> None:
        """The reflex. When it fails, the rollback task still comes."""
        try:
            looker.traffic.retreat(look.judgement.reason)
        except Exception as error:
            self.log.warning("could not take the traffic away at once, the rollback task will: %s", error)
