"""Move weights: one step up, to the end, or back."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from inference_rollouts.core.errors import NotReady
from inference_rollouts.core.objects.readiness import Phase, ready_pods
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.operators.assets import announce
from inference_rollouts.operators.base import RolloutOperator, cluster_of, frozen_plan, telling
from inference_rollouts.operators.history import RESTORED, attached, task_states, why_rolled_back
from inference_rollouts.rollout.observation import pods_of
from inference_rollouts.rollout.traffic import Restored
from inference_rollouts.triggers.ready import ReadyTrigger, look

POLL = 2.0  # seconds between two looks for room
SLACK = timedelta(minutes=2)  # the trigger ends by itself; Airflow's own timeout is only a net below it


class StableUnavailable(Exception):
    """Going back would lose traffic now. Not a RolloutError: it is retried until it can be done."""


class ShiftWeight(RolloutOperator):
    """Gives the canary what step `step` (from 1) of the plan says, once both pools have room for it."""

    ui_color = "#e8f0fe"

    def __init__(self, *, step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    @telling
    def execute(self, context: Context) -> dict[str, Any]:
        frozen, check = frozen_plan(context), f"capacity:{self.step}"
        seen = look(cluster_of(frozen), frozen, check)
        if seen.phase is Phase.FAILED:
            raise _refusal(seen.message)
        if seen.phase is Phase.WAITING and not self._is_done(context, frozen):
            self.log.info("the weights are not raised yet: %s", seen.message)
            seconds = frozen.plan.deadlines.route
            self.defer(
                trigger=ReadyTrigger(
                    frozen=frozen.to_json(), check=check, deadline=time.time() + seconds, poll=POLL
                ),
                method_name="decided",
                timeout=timedelta(seconds=seconds) + SLACK,
            )
        self.log.info("%s", seen.message)
        return self._shift(context, frozen)

    @telling
    def decided(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Raises NotReady when the pools had no room in time."""
        if event["phase"] != Phase.READY:
            raise _refusal(event["message"])
        return self._shift(context, frozen_plan(context))

    def _shift(self, context: Context, frozen: Frozen) -> dict[str, Any]:
        rung = frozen.plan.rungs[self.step - 1]
        since = self.traffic(context).shift(rung.weight, self.step, time.time(), rung.mirror)
        self.log.info("%s has %s of the traffic", frozen.plan.canary, rung)
        return {"percent": rung.weight, "mirror": rung.mirror, "since": since}

    def _is_done(self, context: Context, frozen: Frozen) -> bool:
        """Whether an earlier try has raised the weights already."""
        rung, records = frozen.plan.rungs[self.step - 1], self.traffic(context).records()
        now = {(record.percent, record.mirror) for record in records}
        return len(records) == len(frozen.targets) and now == {(rung.weight, rung.mirror)}


def _refusal(why: str) -> NotReady:
    return NotReady(f"The weights were not raised: {why.rstrip('.')}.")


class Promote(RolloutOperator):
    """Lets the routes go with all traffic on the canary; the stable pool keeps running for a rollback."""

    ui_color = "#ceead6"

    @telling
    def execute(self, context: Context) -> None:
        self.traffic(context).promote()
        announce(context, self.outlets, frozen_plan(context).plan.stable, Action.REMOVE)


class Rollback(RolloutOperator):
    """Puts the weights back exactly as found where this run still holds them; skips itself if nowhere.

    A promotion that was decided, and died halfway, is completed instead. XCom `restored` says what was done.
    A teardown: it runs after an alarm, after any task died, and when a person marks the run as failed.
    """

    ui_color = "#fad2cf"

    def execute(self, context: Context) -> str:
        self._check_way_back(context)
        restored = self.traffic(context).restore(why_rolled_back(context))
        context["ti"].xcom_push(key=RESTORED, value=restored.value)
        if restored is Restored.NOTHING:
            if attached(task_states(context)):
                self.log.warning("this run held what it moves once, and holds nothing now")
            raise AirflowSkipException("This run holds nothing: there is nothing to restore.")
        if restored is Restored.COMMITTED:
            raise AirflowSkipException("The promotion was decided before it died: it is completed.")
        self.log.info("weights: %s", restored)
        announce(context, self.outlets, frozen_plan(context).plan.canary, Action.SCALE_DOWN)
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
