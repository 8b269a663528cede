"""Warm up every pod that will serve the canary, directly, before any weight leaves 0."""

from __future__ import annotations

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.limits import WRITE_DEADLINE
from inference_rollouts.core.reporting.status import preparing
from inference_rollouts.operators.base import records_failure, run_of, tell
from inference_rollouts.rollout.retrying import for_seconds


class WarmUp(BaseOperator):
    """Each pod answers validly and steadily, for every name that stable answers for, and as stable does.

    Then the claims permit the first raise.
    """

    ui_color = "#fef7e0"

    @records_failure
    def execute(self, context: Context) -> dict[str, float]:
        """Seconds to a first token once warm, by pod."""
        run = run_of(context)
        tell(context, lambda: preparing(run.frozen, "warming up"))
        ttfts = dict(run.kind.warm_up(run))
        for_seconds(WRITE_DEADLINE)(run.traffic.permit, 0, run.cluster.time())
        return ttfts
