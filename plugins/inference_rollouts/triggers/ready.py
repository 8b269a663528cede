"""Waits in the triggerer until a check of the cluster is ready, has failed, or its deadline has passed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.core.errors import RolloutError
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.checks import CHECKS


class ReadyTrigger(BaseTrigger):
    """Polls one of `CHECKS`. Its event is `{"phase", "message"}`; `deadline` is Unix time.

    `check` is a name in `CHECKS`, or `name:argument`.
    """

    def __init__(self, *, frozen: dict[str, Any], check: str, deadline: float, poll: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.check = check
        self.deadline = deadline
        self.poll = poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {
            "frozen": self.frozen,
            "check": self.check,
            "deadline": self.deadline,
            "poll": self.poll,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        frozen = Frozen.from_json(self.frozen)
        cluster = ClusterHook(frozen.plan.connections.kubernetes, frozen.plan.namespace)
        said = ""
        while True:
            answer = await asyncio.to_thread(look, cluster, frozen, self.check)
            if answer.message != said:
                said = answer.message
                self.log.info("%s", said)
            if answer.phase is not Phase.WAITING or time.time() >= self.deadline:
                yield TriggerEvent({"phase": answer.phase.value, "message": answer.message})
                return
            await asyncio.sleep(self.poll)


def look(cluster: ClusterHook, frozen: Frozen, check: str) -> Readiness:
    """One check. A cluster that does not answer is waited for; one that refuses has failed."""
    try:
        name, _, argument = check.partition(":")
        return CHECKS[name](cluster, frozen, *filter(None, [argument]))
    except RolloutError as error:
        return Readiness(Phase.FAILED, str(error))
    except Exception as error:
        return Readiness(Phase.WAITING, f"the cluster does not answer: {error}")
