"""A quick step under observation, in a time of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from inference_rollouts.core.judging.judge import Carried
from inference_rollouts.core.schedule.calendar import Calendar
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.spare import Spare
from inference_rollouts.rollout.step_observer import StepObserver
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.fake_storage import FakeStorage
from tests.support.freezing import run_on

START = 1000.0  # Unix time


class Step:
    """Step 1 of a quick run, at 50 % since `start`, on a cluster and a metrics store in memory.

    `upto` 0: only claimed. `clock` is the API server's; `before` prepares the cluster; `calendar` is when
    it may be raised.

    Who observes it in real time takes an interval that a busy machine can follow.
    """

    def __init__(
        self,
        start: float = START,
        clock: Callable[[], float] | None = None,
        upto: int = 1,
        before: Callable[[FakeCluster], None] = lambda _: None,
        calendar: Calendar | None = None,
        **changes: Any,
    ) -> None:
        self.cluster = FakeCluster()
        before(self.cluster)
        self.cluster.clock = clock or self.cluster.clock
        self.prometheus = FakePrometheus(self.cluster)
        self.storage = FakeStorage()
        quick = {"interval": "50ms", "scrape_delay": 0, "progress_deadline": "1s", "on_timeout": "rollback"}
        analysis = quick | changes.pop("analysis", {})
        params = {"weights": [50, 100], "bake": changes.pop("bake", "200ms")}
        self.run: Run = run_on(
            self.cluster,
            params,
            prometheus=self.prometheus,
            files=self.storage,
            initial_delay=0,
            analysis=analysis,
            **changes,
        )
        self.run = replace(self.run, frozen=replace(self.run.frozen, calendar=calendar or Calendar()))
        self.prometheus.last = None
        self.cluster.put_pool(self.run.plan.canary)
        self.run.attach()
        if not upto:
            return
        self.run.traffic.permit(0, start)
        self.since = self.run.traffic.shift(1, self.run.plan.all_steps[0], start)

    def observer(self, spare: Spare | None = None) -> StepObserver:
        return StepObserver(self.run, self.run.plan.step_context(1, self.since), Carried(), spare=spare)

    def judged(self) -> dict[str, Any]:
        """What the judge says in the end, observing when each observation is due."""
        observer, now = self.observer(), self.since
        while not (judgement := observer.observe(now)).verdict.final:
            now = observer.next_observation(now)
        return observer.finish(judgement, "step_1.jsonl")
