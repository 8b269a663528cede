"""Waits in the triggerer until nothing has run in a pool (or for an adapter) for the longest stream."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.retirement.idle import Clock, Observation
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.hooks.sharing import Shared, sharing
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.retirement import Subject

OBSERVATIONS = 30  # in the longest stream, so that nobody waits much longer than it
LOG_EVERY = 60.0  # seconds between two log lines


class IdleTrigger(BaseTrigger):
    """Its event is `{"since"}` (Unix time), or `{"error"}`, a sentence, also at the `deadline` (Unix time).

    Both are times of the API server's clock. A triggerer that takes over starts the wait anew.
    """

    def __init__(self, *, retirement: dict[str, Any], deadline: float) -> None:
        super().__init__()
        self.retirement = retirement
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"retirement": self.retirement, "deadline": self.deadline}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        retirement = Retirement.from_json(self.retirement)
        try:
            async with sharing(retirement.plan) as shared:
                since = await self._idle_since(retirement, shared)
        except RolloutError as error:
            yield TriggerEvent({"error": str(error)})
            return
        yield TriggerEvent({"since": since})

    async def _idle_since(self, retirement: Retirement, shared: Shared) -> float | None:
        """Since when it has been quiet, once that is for long enough. Raises RolloutError at the deadline."""
        plan = retirement.plan
        longest, scrape = plan.retention.longest_stream, plan.analysis.interval
        poll = max(scrape, longest / OBSERVATIONS)
        clients = shared.clients[plan.namespace]
        subject, cluster = kind_of(plan).retired(clients, retirement), clients.cluster
        clock, logged = Clock(), -math.inf
        while not clock.is_quiet(longest):
            if clock.last:
                look = partial(observe, subject, cluster, 2 * scrape, clock.last.at)
            else:
                look = partial(observe, subject, cluster, poll + 2 * scrape)
            seen = await shared.look(look)
            clock = clock.tick(seen)
            sentence = clock.sentence(longest)
            if seen.at >= logged + LOG_EVERY:
                self.log.info("%s: %s", retirement.name, sentence)
                logged = seen.at
            if seen.at >= self.deadline:
                raise RolloutError(f"{retirement.name} is still in use and stays as it is: {sentence}.")
            await asyncio.sleep(min(poll, longest))
        return clock.since


def observe(subject: Subject, cluster: Cluster, seconds: float, since: float | None = None) -> Observation:
    """One observation, as `Subject.observe`. A cluster that does not answer is no sign of quiet."""
    try:
        return subject.observe(seconds, since)
    except RolloutError:
        raise
    except Exception as error:
        return Observation(cluster.time(), f"the cluster does not answer: {error}")
