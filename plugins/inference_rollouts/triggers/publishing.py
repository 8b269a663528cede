"""Publishes where a rollout is as XCom `status` of the task that waits, for Airflow's own readers."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from airflow.sdk.execution_time.xcom import XCom
from airflow.sdk.observability import stats
from airflow.triggers.base import BaseTrigger

from inference_rollouts.core.limits import PUBLISH_PATIENCE, STATUS_BUDGET, STATUS_EVERY
from inference_rollouts.core.reporting.series import reading_of_status, samples, tags
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.routing.claim import Phase
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.triggers.herald import Herald

STATUS = "status"  # the XCom's key

log = logging.getLogger(__name__)


class Line:
    """The one line to Airflow that all triggers of a process share: `STATUS_BUDGET` messages a second."""

    def __init__(self, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._elapsed = elapsed
        self._free = -math.inf

    @property
    def is_free(self) -> bool:
        """Whether there is room for what brings no news."""
        return self._elapsed() >= self._free

    def take(self) -> None:
        """Something is sent."""
        self._free = max(self._free, self._elapsed()) + 1 / STATUS_BUDGET


LINE = Line()


class Publisher:
    """Publishes news at once, else at most every `STATUS_EVERY` seconds, each time in place of the last.

    Of a run that is given as it was frozen, metrics are given to Airflow, and a pause is told to people.
    What brings no news waits while the line is busy. It is best effort: where Airflow does not take it,
    nothing else suffers.
    """

    def __init__(
        self,
        trigger: BaseTrigger,
        elapsed: Callable[[], float] = time.monotonic,
        line: Line = LINE,
        frozen: Frozen | None = None,
    ) -> None:
        self._trigger = trigger
        self._frozen = frozen
        self._herald = Herald(frozen) if frozen else None
        self._elapsed = elapsed
        self._line = line
        self._told: tuple[object, ...] = ()
        self._next = -math.inf

    async def publish(self, status: Status | None, *news: object) -> None:
        """Publish a status, at once where `news` have changed too; None is none."""
        task, now = self._trigger.task_instance, self._elapsed()
        if status is None or task is None:
            return
        if (*status.news, *news) == self._told and (now < self._next or not self._line.is_free):
            return
        self._line.take()
        self._told, self._next = (*status.news, *news), now + STATUS_EVERY
        self._measure(status)
        if self._herald and status.phase is Phase.PAUSED:
            self._herald.paused(status.step, status.headline)
        try:
            async with asyncio.timeout(PUBLISH_PATIENCE):
                await XCom.aset(
                    STATUS,
                    status.to_json(),
                    dag_id=task.dag_id,
                    task_id=task.task_id,
                    run_id=task.run_id,
                    map_index=-1,
                )
        except Exception as error:
            log.warning("could not publish where the rollout is: %s", error)

    def _measure(self, status: Status) -> None:
        """Give it to Airflow's own metrics, whatever they are sent to."""
        if self._frozen is None:
            return
        try:
            for sample in samples(reading_of_status(self._frozen.plan, status)):
                stats.gauge(sample.family.name, float(sample.value), tags=tags(sample.labels))
        except Exception as error:
            log.warning("could not measure where the rollout is: %s", error)
