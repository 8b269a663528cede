"""A DAG whose tasks are judges of the rollouts of the stand-ins, for a triggerer of Airflow."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, Context

from bench.scale.world import INTERVAL, SCRAPE_DELAY, frozen_of
from inference_rollouts.core.judging.judge import Judgement
from inference_rollouts.triggers.judge import JudgeTrigger

DAG_ID = "watched"
LATE = "BENCH_LATE"
"""The environment variable that names the file of how late each judgement was, in seconds."""


class TimedTrigger(JudgeTrigger):
    """A judge that notes how long after its tick each of its judgements was there, and told."""

    async def _observed(self, *args: Any) -> Judgement | None:
        judgement = await super()._observed(*args)
        _note(time.time(), time.time() - self.since - SCRAPE_DELAY)
        return judgement


def _note(now: float, since: float) -> None:
    """A judgement that was there now, so many seconds since the first tick."""
    with Path(os.environ[LATE]).open("a") as file:
        file.write(f"{now} {since - INTERVAL * math.floor(since / INTERVAL)}\n")


class Watched(BaseOperator):
    """A task that waits for its judge."""

    def __init__(self, *, number: int, since: float, **of_task: Any) -> None:
        super().__init__(**of_task)
        self.number = number
        self.since = since

    def execute(self, context: Context) -> None:
        frozen = frozen_of(self.number).to_json()
        self.defer(trigger=TimedTrigger(frozen=frozen, step=1, since=self.since), method_name="execute")


def dag_of(rollouts: int, since: float) -> DAG:
    """One task for each rollout; their steps have begun one after the other, within an interval."""
    with DAG(DAG_ID, schedule=None, max_active_tasks=rollouts) as dag:
        for number in range(rollouts):
            begun = since + INTERVAL * number / rollouts
            Watched(task_id=f"judge_{number}", number=number, since=begun)
    return dag
