"""Waits in the triggerer until a check of the cluster is ready, has failed, or its deadline has passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from inference_rollouts.core.limits import LAST_WORD, LONGEST_PAUSE
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.reporting.status import Status, preparing
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.sharing import sharing
from inference_rollouts.rollout.checks import check_now
from inference_rollouts.rollout.run import Run
from inference_rollouts.triggers.event import event_of
from inference_rollouts.triggers.publishing import Publisher


class ReadyTrigger(BaseTrigger):
    """Polls one of `CHECKS`. Its event is `{"phase", "message"}`; `deadline` is Unix time.

    It is a time of the API server's clock, as whoever deferred had it: two machines may have different ones.
    `check` is a name in `CHECKS`, or `name:argument`. No answer at the deadline, or at the first look of who
    takes over after it, is none: it is asked again for `LAST_WORD` seconds.
    """

    def __init__(self, *, frozen: dict[str, Any], check: str, deadline: float, poll: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.check = check
        self.deadline = deadline
        self.poll = poll
        self.waits_for = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {
            "frozen": self.frozen,
            "check": self.check,
            "deadline": self.deadline,
            "poll": self.poll,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield await self.ready()

    def status(self, frozen: Frozen) -> Status | None:
        """What is published while it waits; None for nothing."""
        return preparing(frozen, self.waits_for)

    def look(self, run: Run) -> Readiness:
        """One answer."""
        return check_now(run, self.check)

    async def ready(self) -> TriggerEvent:
        """The one event."""
        frozen = Frozen.from_json(self.frozen)
        publisher = Publisher(self)
        async with sharing(frozen.plan) as shared:
            run, begun = shared.run_of(frozen), await shared.time(frozen)
            while True:
                answer = await shared.look(lambda: self.look(run))
                if answer.message != self.waits_for:
                    self.waits_for = answer.message
                    self.log.info("%s", answer.message)
                now = await shared.time(frozen)
                if answer.phase is not Phase.WAITING or self._is_over(answer, begun, now):
                    return event_of(frozen, {"phase": answer.phase.value, "message": answer.message})
                await publisher.publish(self.status(frozen), self.waits_for)
                await asyncio.sleep(self._pause(answer, run.cluster.time()))

    def _pause(self, answer: Readiness, now: float) -> float:
        """Seconds to the next look: as a server wants it, for as long as there is time, and not for long."""
        return max(self.poll, min(answer.later, LONGEST_PAUSE, self.deadline - now))

    def _is_over(self, answer: Readiness, begun: float, now: float) -> bool:
        patience = 0.0 if answer.answered else LAST_WORD
        return now >= max(self.deadline, begun) + patience
