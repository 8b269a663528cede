"""Move weights: one step up, to the end, or back."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from inference_rollouts.core.errors import NotReady
from inference_rollouts.core.readiness import ready_pods
from inference_rollouts.hooks.observation import outage_of, pods_of
from inference_rollouts.hooks.traffic import Restored
from inference_rollouts.operators.base import RolloutOperator, cluster_of, frozen_plan
from inference_rollouts.operators.story import why_rolled_back


class StableUnavailable(Exception):
    """Going back would lose traffic now. Not a RolloutError: it is retried until it can be done."""


class ShiftWeight(RolloutOperator):
    """Gives the canary what step `step` (counted from 1) of this run's plan says."""

    ui_color = "#e8f0fe"

    def __init__(self, *, step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> dict[str, Any]:
        frozen = frozen_plan(context)
        plan, cluster = frozen.plan, cluster_of(frozen)
        for pool in (plan.pool_of(plan.stable), plan.pool_of(plan.canary)):
            if not ready_pods(pods_of(cluster, pool)):
                raise NotReady(f"InferencePool {pool} has no ready pod; the weights were not raised.")
            if outage := outage_of(cluster, pool):
                raise NotReady(f"{outage.message} The weights were not raised.")
        rung = plan.rungs[self.step - 1]
        since = self.traffic(context).shift(rung.weight, self.step, time.time(), rung.mirror)
        self.log.info("%s has %s of the traffic", plan.canary, rung)
        return {"percent": rung.weight, "mirror": rung.mirror, "since": since}


class Promote(RolloutOperator):
    """Lets the routes go with all traffic on the canary; the stable pool keeps running for a rollback."""

    ui_color = "#ceead6"

    def execute(self, context: Context) -> None:
        self.traffic(context).promote()


class Rollback(RolloutOperator):
    """Puts the weights back exactly as found where this run still holds them; skips itself if nowhere.

    A teardown: it runs after an alarm, after any task died, and when a person marks the run as failed.
    """

    ui_color = "#fad2cf"

    def execute(self, context: Context) -> str:
        self._check_way_back(context)
        restored = self.traffic(context).restore(why_rolled_back(context))
        if restored is Restored.NOTHING:
            raise AirflowSkipException("This run holds no route: there is nothing to restore.")
        self.log.info("weights: %s", restored)
        return str(restored)

    def _check_way_back(self, context: Context) -> None:
        """Raises StableUnavailable while the canary carries traffic that the stable pool could not take."""
        frozen = frozen_plan(context)
        plan, cluster = frozen.plan, cluster_of(frozen)
        if not any(record.percent for record in self.traffic(context).records()):
            return
        pools = (plan.pool_of(plan.canary), plan.pool_of(plan.stable))
        canary, stable = (ready_pods(pods_of(cluster, pool)) for pool in pools)
        if canary and not stable:
            raise StableUnavailable(
                f"{plan.stable} has no ready pod while {plan.canary} serves: going back now would lose "
                "traffic. The weights stay as they are; this is tried again until the stable pool is back."
            )
