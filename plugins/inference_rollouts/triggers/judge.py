"""Observes a step until its verdict is final; on an alarm it takes the canary's traffic away itself."""

from __future__ import annotations

import asyncio
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
        async with sharing(frozen.plan) as shared:
            observer = shared.observer(frozen, context, carried)
            try:
                judgement = await self._judge(shared, observer)
                event = await shared.finish(observer, judgement, f"step_{self.step}.jsonl")
            except (RolloutError, PassingError) as error:
                event = failure(error)
        yield event_of(frozen, event)

    async def _judge(self, shared: Shared, observer: StepObserver) -> Judgement:
        """The first final judgement."""
        publisher, told = Publisher(self, frozen=observer.run.frozen), _Told(observer.context)
        while True:
            if final := await self._observed(shared, observer, publisher, told):
                return final
            await asyncio.sleep(pause(observer))

    async def _observed(
        self, shared: Shared, observer: StepObserver, publisher: Publisher, told: _Told
    ) -> Judgement | None:
        """One observation: its judgement if that is final. Of others nothing is kept, as they are large."""
        judgement = await shared.observe(observer, await shared.time(observer.run.frozen))
        if sentence := told.of(judgement):
            self.log.info("%s", sentence)
        if judgement.verdict.final:
            return judgement
        await publisher.publish(observer.status(judgement))
        return None


class _Told:
    """What is logged of the judgements of a step: news, and what brings none every LOG_EVERY seconds."""

    def __init__(self, step: StepContext) -> None:
        self._step = step
        self._opinion: tuple[Verdict, str | None] | None = None
        self._at = 0.0

    def of(self, judgement: Judgement) -> str:
        """A sentence, or an empty one."""
        opinion = judgement.verdict, judgement.blame
        if opinion == self._opinion and judgement.time < self._at + LOG_EVERY:
            return ""
        self._opinion, self._at = opinion, judgement.time
        return _sentence(self._step, judgement)


def pause(observer: StepObserver) -> float:
    """Seconds until the next observation is due."""
    now = observer.run.cluster.time()
    return max(OBSERVATION_PAUSE, observer.next_observation(now) - now)


def _sentence(step: StepContext, judgement: Judgement) -> str:
    warnings = "".join(f" Warning: {warning}" for warning in judgement.warnings)
    return f"step {step.index} at {step}: {judgement.verdict.value}: {judgement.reason}{warnings}"
