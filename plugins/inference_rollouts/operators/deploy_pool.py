"""Deploy the canary pool and attach it to the route at weight 0."""

from __future__ import annotations

from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.limits import WRITE_DEADLINE
from inference_rollouts.operators.base import keep_token, records_failure, resumes, run_of
from inference_rollouts.operators.ready import NodesOperator
from inference_rollouts.rollout.retrying import for_seconds
from inference_rollouts.rollout.run import Run


class DeployPool(NodesOperator):
    """Applies the frozen manifests, waits for nodes and pods, attaches the pool, waits for the gateway.

    Attaching comes before the gateway's conditions, because a gateway reports on a pool only while a route
    names it; at weight 0 no request goes there. Previews come last: whoever claims the routes may have some.
    """

    ui_color = "#e6f4ea"

    @records_failure
    def execute(self, context: Context) -> None:
        run = run_of(context)
        keep_token(context, run)
        for manifest in run.frozen.manifests:
            live = run.cluster.apply(manifest)
            self.log.info("applied %s %s", live["kind"], live["metadata"]["name"])
        if run.plan.as_pool_plan.pods_bring_nodes:
            self.wait_for_nodes(context, run, "placement", "placement_decided")
        self._await_workloads(context, run)

    @records_failure
    @resumes
    def placement_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_nodes(context, event)
        self._await_workloads(context, run_of(context))

    def _await_workloads(self, context: Context, run: Run) -> None:
        self.wait_for(run, "workloads", run.plan.deadlines.ready, "workloads_decided")
        self._attach(context, run)

    @records_failure
    @resumes
    def workloads_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_ready(event)
        self._attach(context, run_of(context))

    def _attach(self, context: Context, run: Run) -> None:
        for_seconds(WRITE_DEADLINE)(run.attach)
        for manifest in run.frozen.previews:
            live = run.cluster.apply(manifest)
            self.log.info("applied %s %s, a preview", live["kind"], live["metadata"]["name"])
        self.wait_for(run, "attachment", run.plan.deadlines.route, "attachment_decided")

    @records_failure
    @resumes
    def attachment_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_ready(event)
