"""Deploy the canary pool and attach it to the route at weight 0."""

from __future__ import annotations

from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.operators.base import cluster_of, frozen_plan, telling
from inference_rollouts.operators.ready import NodesOperator


class DeployPool(NodesOperator):
    """Applies the frozen manifests, waits for nodes and pods, attaches the pool, waits for the gateway.

    Attaching comes before the gateway's word, because a gateway reports on a pool only while a route
    names it; at weight 0 no request goes there. Previews come last: whoever holds the routes may have some.
    """

    ui_color = "#e6f4ea"

    @telling
    def execute(self, context: Context) -> None:
        frozen = frozen_plan(context)
        cluster = cluster_of(frozen)
        for manifest in frozen.manifests:
            live = cluster.apply(manifest)
            self.log.info("applied %s %s", live["kind"], live["metadata"]["name"])
        if frozen.pool_plan.pods_bring_nodes:
            self.wait_for_nodes(context, frozen, "placement", "placement_decided")
        self._await_workloads(context, frozen)

    @telling
    def placement_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_nodes(context, event)
        self._await_workloads(context, frozen_plan(context))

    def _await_workloads(self, context: Context, frozen: Frozen) -> None:
        self.wait_for(frozen, "workloads", frozen.plan.deadlines.ready, "workloads_decided")
        self._attach(context, frozen)

    @telling
    def workloads_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_ready(event)
        self._attach(context, frozen_plan(context))

    def _attach(self, context: Context, frozen: Frozen) -> None:
        self.traffic(context).attach()
        for manifest in frozen.previews:
            live = cluster_of(frozen).apply(manifest)
            self.log.info("applied %s %s, a preview", live["kind"], live["metadata"]["name"])
        self.wait_for(frozen, "attachment", frozen.plan.deadlines.route, "attachment_decided")

    @telling
    def attachment_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_ready(event)
