"""A rollout that a task has watched until now, and a guardian beside it."""

from __future__ import annotations

from typing import Any

from inference_rollouts.core.limits import LEASE_SECONDS as BEYOND
from inference_rollouts.core.routing.claim import CLAIM
from inference_rollouts.core.routing.watch import watch_of
from inference_rollouts.rollout.guardian import Guardian, Round
from tests.support.plans import STABLE
from tests.support.steps import Step

LEASE = "httproute-routes-to-llm"
LEASE_SECONDS = BEYOND + 1  # with the interval of the plan, which is below a second


class Scene:
    """A canary with 50 %, watched by a task until `LEASE_SECONDS` from now, and a guardian in its time.

    Who gave it that had a clock so many seconds `ahead`.
    """

    def __init__(self, ahead: float = 0.0, **changes: Any) -> None:
        self.now = 1000.0
        self.step = Step(self.now + ahead, clock=lambda: self.now, **changes)
        self.cluster = self.step.cluster
        self.prometheus = self.step.prometheus
        self.guardian = self.another("guardian a")

    def another(self, name: str) -> Guardian:
        return Guardian(self.cluster, self.prometheus, name)

    def after(self, seconds: float, guardian: Guardian | None = None) -> Round:
        self.now += seconds
        return (guardian or self.guardian).round()

    @property
    def holder(self) -> str | None:
        watch = watch_of(self.cluster.find("coordination.k8s.io/v1", "Lease", LEASE))
        return watch.holder if watch else None

    @property
    def as_found(self) -> bool:
        return self.cluster.weights() == {STABLE: 1} and CLAIM not in self.cluster.notes()

    def claim(self) -> Any:
        [claim] = self.step.run.traffic.claims()
        return claim
