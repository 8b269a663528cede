"""Bring a new adapter to every pod of its pool, and claim what splits its alias."""

from __future__ import annotations

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.limits import WRITE_DEADLINE
from inference_rollouts.operators.base import keep_token, records_failure, run_of
from inference_rollouts.rollout.adapters import load_everywhere
from inference_rollouts.rollout.pods import servers_of
from inference_rollouts.rollout.retrying import for_seconds


class LoadAdapter(BaseOperator):
    """Loads the canary on every ready pod, or on none; then claims the rewrite, at weight 0.

    With `load: lazy` there is nothing to load: each server does it when it is first asked.
    """

    ui_color = "#e6f4ea"

    @records_failure
    def execute(self, context: Context) -> list[str]:
        """The names of the pods that had to load it."""
        run = run_of(context)
        keep_token(context, run)
        plan = run.plan.as_adapter_plan
        urls = servers_of(run.cluster, plan.pool)
        loaded = load_everywhere(run.clients.servers, urls, plan) if plan.load == "runtime" else []
        for_seconds(WRITE_DEADLINE)(run.attach)
        return loaded
