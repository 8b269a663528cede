"""The end of a preview."""

from __future__ import annotations

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.run.preview import is_preview_of
from inference_rollouts.operators.base import RolloutOperator, cluster_of, frozen_plan


class EndPreview(RolloutOperator):
    """Removes the preview routes of this run, promoted or not; a newer run's are left.

    A teardown, like rollback, and apart from it: neither waits for the other's retries, and where the traffic
    ended does not depend on it.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> None:
        frozen = frozen_plan(context)
        cluster = cluster_of(frozen)
        for manifest in frozen.previews:
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            live = cluster.find(manifest["apiVersion"], kind, name)
            if live is not None and is_preview_of(live, frozen.plan.name, frozen.run):
                cluster.delete(live)
                self.log.info("removed %s %s", kind, name)
