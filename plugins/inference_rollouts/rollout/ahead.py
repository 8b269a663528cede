"""Whether there is room for what comes after a step, asked beside everything else."""

from __future__ import annotations

import logging
from concurrent.futures import Executor, Future
from functools import partial

from inference_rollouts.core.judging.policy import Health, StepContext
from inference_rollouts.core.serving.capacity import RoomAhead
from inference_rollouts.rollout.beside import Beside
from inference_rollouts.rollout.run import Run

log = logging.getLogger(__name__)


class Ahead:
    """Asks in `threads`, and only once it matters."""

    def __init__(self, run: Run, step: StepContext, threads: Executor) -> None:
        self._run = run
        self._step = step
        self._beside = Beside(RoomAhead(), threads)

    def ask(self, health: Health, now: float) -> Future[RoomAhead] | None:
        """What is to be waited for, if anything is."""
        if self._run.kind.asks_for_room(self._run, self._step, health, now):
            self._beside.ask(partial(self._answer, health))
        else:
            self._beside.last = RoomAhead()
        return self._beside.asked

    def answer(self, until: float) -> RoomAhead:
        """What was asked for; what has not come by `until` (`time.monotonic`) is as it was before."""
        return self._beside.answer(until) or self._beside.last

    def _answer(self, health: Health) -> RoomAhead:
        """Nothing when nobody knows."""
        try:
            return self._run.kind.room_ahead(self._run, self._step, health)
        except Exception as error:
            log.warning("nobody knows whether there is room for the next raise: %s", error)
            return RoomAhead()
