"""A guardian in the triggerer, for those who have Airflow and nothing else to run one in."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from inference_rollouts.core.limits import GUARDIAN_POLL, LAST_WORD
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.core.plan.notifications import Notification
from inference_rollouts.core.reporting.transition import Transition
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.hooks.notifiers import send
from inference_rollouts.rollout.guarded import guarded
from inference_rollouts.rollout.guardian import Ended, Guardian
from inference_rollouts.rollout.telling import insist
from inference_rollouts.rollout.watching import holder
from inference_rollouts.triggers.marks import XComMarks


class GuardTrigger(BaseTrigger):
    """Watches `places`: each has connections `kubernetes` and `prometheus`, and a `namespace`.

    People hear of what it had to do by `notifications`, by the name of the plan.

    Its event has `ended`, each with `plan`, `run`, `stable`, `canary`, `how` and `why`: nothing when it ended
    nothing until `deadline` (Unix time by the clock of the first place's cluster). Places whose round is slow
    are waited for, `LAST_WORD` seconds at most, and the others are watched meanwhile.
    """

    def __init__(
        self,
        *,
        places: Sequence[dict[str, str]],
        deadline: float,
        notifications: Mapping[str, list[dict[str, Any]]] | None = None,
    ) -> None:
        super().__init__()
        self.notifications = dict(notifications or {})
        self._begun: set[str] = set()
        self.places = list(places)
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {
            "places": self.places,
            "deadline": self.deadline,
            "notifications": self.notifications,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        guardians, end, ended = [self._guardian(place) for place in self.places], _End(), list[Ended]()
        if not guardians:
            await asyncio.sleep(max(0.0, self.deadline - time.time()))
        self._now = guardians[0].cluster.time if guardians else time.time
        threads = ThreadPoolExecutor(max(1, len(guardians)), "place")
        rounds = [asyncio.create_task(self._rounds(each, threads, end, ended)) for each in guardians]
        try:
            await end.waited_for(rounds)
        finally:
            for each in rounds:
                each.cancel()
            threads.shutdown(wait=False)
        yield TriggerEvent({"ended": [_told(each) for each in ended]})

    async def _rounds(self, guardian: Guardian, threads: Executor, end: _End, ended: list[Ended]) -> None:
        """A guardian's, and what it has `ended`, until the end. No other holds it up."""
        loop, run = asyncio.get_running_loop(), copy_context().run
        while True:
            end.began(guardian)
            found = await loop.run_in_executor(threads, run, self._round, guardian)
            ended += found
            end.is_near(guardian, over=bool(found) or self._now() >= self.deadline)
            with suppress(TimeoutError):
                await asyncio.wait_for(end.has_come.wait(), GUARDIAN_POLL)
                return

    def _guardian(self, place: dict[str, str]) -> Guardian:
        connections = Connections(kubernetes=place["kubernetes"], prometheus=place["prometheus"])
        clients = clients_at(connections, place["namespace"])
        return Guardian(clients.cluster, clients.prometheus, holder("guardian in triggerer"))

    def _round(self, guardian: Guardian) -> tuple[Ended, ...]:
        try:
            seen = guardian.round()
            for transition in guarded(seen):
                self._tell(transition)
            return seen.ended
        except Exception as error:
            self.log.warning("nothing is known of the rollouts: %s", error)
            return ()

    def _tell(self, transition: Transition) -> None:
        """Tell of a transition once, in a thread of its own, by the notifications of its plan."""
        wanted = self.notifications.get(transition.plan, [])
        if transition.id in self._begun or not wanted:
            return
        self._begun.add(transition.id)
        dag, _, run = transition.run.partition("/")
        notifications = [Notification.model_validate(each) for each in wanted]
        act = partial(insist, [transition], notifications, XComMarks(dag, run), send)
        threading.Thread(target=act, name="herald", daemon=True).start()


class _End:
    """Of all rounds: it is near once one says so, and has come when those are over that had begun by then."""

    def __init__(self) -> None:
        self.near, self.has_come = asyncio.Event(), asyncio.Event()
        self._busy: list[Guardian] = []

    def began(self, guardian: Guardian) -> None:
        """A round begins."""
        if not self.near.is_set():
            self._busy.append(guardian)

    def is_near(self, guardian: Guardian, *, over: bool) -> None:
        """Its round is over; `over`: so is all."""
        self._busy = [each for each in self._busy if each is not guardian]
        if over:
            self.near.set()
        if self.near.is_set() and not self._busy:
            self.has_come.set()

    async def waited_for(self, rounds: Sequence[asyncio.Task[None]]) -> None:
        """Until then, or for `LAST_WORD` once it is near. Raises what a round raises."""
        near = asyncio.create_task(self.near.wait())
        if rounds:
            await asyncio.wait([near, *rounds], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(rounds, timeout=LAST_WORD)
        near.cancel()
        for each in rounds:
            if each.done():
                each.result()


def _told(ended: Ended) -> dict[str, str]:
    claim = ended.claim
    return {
        "plan": claim.plan,
        "run": claim.owner.run,
        "stable": claim.stable,
        "canary": claim.canary,
        "how": ended.how.value,
        "why": ended.why,
    }
