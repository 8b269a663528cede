"""Observes a step until its verdict is final; on an alarm it takes the canary's traffic away itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from inference_rollouts.core.errors import PassingError, RolloutError
from inference_rollouts.core.judging.judge import Carried, Judgement, StepContext, Verdict
from inference_rollouts.core.limits import OBSERVATION_PAUSE
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.sharing import Shared, sharing
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.triggers.event import event_of, failure
from inference_rollouts.triggers.publishing import Publisher

LOG_EVERY = 10.0  # seconds between two log lines that say the same


class JudgeTrigger(BaseTrigger):
    """One step's judge. Its event has `judgement`, `record` and `points`, or `error` if the route was lost.

    Everything is recomputed from `since`, the time of the shift, so another triggerer may take over at
    any observation.
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
        context = frozen.plan.step_context(self.step, self.since)
        with sharing(frozen) as shared:
            observer = StepObserver(shared.run_of(frozen), context, carried, shared.asking)
            try:
                judgement = await self._judge(shared, observer)
                event = await asyncio.to_thread(observer.finish, judgement, f"step_{self.step}.jsonl")
            except (RolloutError, PassingError) as error:
                event = failure(error)
        yield event_of(frozen, event)

    async def _judge(self, shared: Shared, observer: StepObserver) -> Judgement:
        """The first final judgement."""
        publisher = Publisher(self, frozen=observer.run.frozen)
        opinion: tuple[Verdict, str | None] | None = None
        logged = 0.0
        while True:
            judgement = await shared.observe(observer, time.time())
            if (judgement.verdict, judgement.blame) != opinion or judgement.time >= logged + LOG_EVERY:
                opinion, logged = (judgement.verdict, judgement.blame), judgement.time
                self.log.info("%s", _sentence(observer.context, judgement))
            if judgement.verdict.final:
                return judgement
            await publisher.publish(observer.status(judgement))
            await asyncio.sleep(pause(observer))


def pause(observer: StepObserver) -> float:
    """Seconds until the next observation is due."""
    now = time.time()
    return max(OBSERVATION_PAUSE, observer.next_observation(now) - now)


def _sentence(step: StepContext, judgement: Judgement) -> str:
    warnings = "".join(f" Warning: {warning}" for warning in judgement.warnings)
    return f"step {step.index} at {step}: {judgement.verdict.value}: {judgement.reason}{warnings}"
