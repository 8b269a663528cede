"""The end of a preview."""

from __future__ import annotations

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from inference_rollouts.core.run.preview import is_preview_of
from inference_rollouts.operators.base import run_of
from inference_rollouts.operators.history import is_refused


class EndPreview(BaseOperator):
    """Removes the preview routes of this run, promoted or not; a newer run's are left.

    A teardown, like rollback, and apart from it: neither waits for the other's retries, and where the traffic
    ended does not depend on it.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> None:
        if is_refused(context):
            raise AirflowSkipException("Preflight decided nothing, so there is no preview.")
        run = run_of(context)
        for manifest in run.frozen.previews:
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            live = run.cluster.find(manifest["apiVersion"], kind, name)
            if live is not None and is_preview_of(live, run.plan.name, run.frozen.run):
                run.cluster.delete(live)
                self.log.info("removed %s %s", kind, name)
