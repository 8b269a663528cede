"""The guardian as a task: it waits in the triggerer, and announces what it had to end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.limits import TRIGGER_GRACE
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.operators.assets import announce_promotion, announce_rollback
from inference_rollouts.rollout.common_time import time_of
from inference_rollouts.rollout.way_back import Restored
from inference_rollouts.triggers.guard import GuardTrigger

WATCH = 3600.0  # seconds that one run of the DAG watches, so that Airflow's history stays short and readable


class Guard(BaseOperator):
    """Watches `places` (see GuardTrigger) for a while; ends earlier with what it ended.

    It announces the ends of rollouts of `plans`; nobody waits for those of others. People hear of them by the
    plans' `notifications`.
    """

    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        places: Sequence[dict[str, str]],
        plans: Sequence[str],
        notifications: Mapping[str, list[dict[str, Any]]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.notifications = dict(notifications or {})
        self.places = places
        self.plans = plans

    def execute(self, context: Context) -> None:
        deadline = _now(self.places) + WATCH
        self.defer(
            trigger=GuardTrigger(places=self.places, deadline=deadline, notifications=self.notifications),
            method_name="seen",
            timeout=timedelta(seconds=WATCH) + TRIGGER_GRACE,
        )

    def seen(self, context: Context, event: dict[str, Any]) -> list[dict[str, str]]:
        """What was ended."""
        ended: list[dict[str, str]] = event["ended"]
        for each in ended:
            self.log.warning("%s: %s, because %s", each["run"], each["how"], each["why"])
            if each["plan"] not in self.plans:
                continue
            if each["how"] == Restored.COMMITTED:
                announce_promotion(context, each["plan"], each["stable"])
            else:
                announce_rollback(context, each["plan"], each["canary"])
        return ended


def _now(places: Sequence[Mapping[str, str]]) -> float:
    """What time it is (Unix seconds) by the clock of the first place's cluster; without places by ours."""
    for place in places:
        connections = Connections(kubernetes=place["kubernetes"], prometheus=place["prometheus"])
        return time_of(clients_at(connections, place["namespace"]).cluster)
    return time.time()
