"""Tasks that wait for the cluster: deferred to the triggerer unless it is ready already."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.errors import NotReady
from inference_rollouts.core.frozen import Frozen
from inference_rollouts.core.readiness import Phase
from inference_rollouts.operators.base import RolloutOperator, cluster_of, frozen_plan
from inference_rollouts.triggers.ready import ReadyTrigger, look

SLACK = timedelta(minutes=2)  # the trigger ends by itself; Airflow's own timeout is only a net below it


class WaitingOperator(RolloutOperator):
    """Base of tasks that act and then wait for a check; `poll` is the seconds between two looks."""

    def __init__(self, *, poll: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll = poll

    def wait_for(self, frozen: Frozen, check: str, seconds: float, method: str) -> None:
        """Return when `check` is ready now; otherwise defer, and go on in `method` when it is decided."""
        answer = look(cluster_of(frozen), frozen, check)
        self.log.info("%s", answer.message)
        if answer.phase is Phase.READY:
            return
        if answer.phase is Phase.FAILED:
            raise NotReady(f"{answer.message}. No traffic was moved to the canary.")
        self.defer(
            trigger=ReadyTrigger(
                frozen=frozen.to_json(), check=check, deadline=time.time() + seconds, poll=self.poll
            ),
            method_name=method,
            timeout=timedelta(seconds=seconds) + SLACK,
        )

    def require_ready(self, event: dict[str, Any]) -> None:
        """Raises NotReady unless the event of a ReadyTrigger says ready."""
        if event["phase"] == Phase.READY:
            return
        late = " before the deadline" if event["phase"] == Phase.WAITING else ""
        raise NotReady(f"Not ready{late}: {event['message']}. No traffic was moved to the canary.")


class ProvisionNodes(WaitingOperator):
    """Waits for Ready nodes with enough free accelerators for the canary."""

    ui_color = "#e6f4ea"

    def execute(self, context: Context) -> None:
        frozen = frozen_plan(context)
        self.wait_for(frozen, "nodes", frozen.plan.deadlines.nodes, "nodes_decided")

    def nodes_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_ready(event)
