"""Tasks that wait for the cluster: deferred to the triggerer unless it is ready already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.errors import NotReady
from inference_rollouts.core.limits import READINESS_POLL, TRIGGER_GRACE
from inference_rollouts.core.nodes.provisioners import shortage
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.operators.base import FAILURE, records_failure, resumes, run_of
from inference_rollouts.rollout.checks import check_now, nodes_of
from inference_rollouts.rollout.run import Run
from inference_rollouts.triggers.ready import ReadyTrigger


class WaitingOperator(BaseOperator):
    """Base of tasks that act and then wait for a check; `poll` is the seconds between two checks."""

    def __init__(self, *, poll: float = READINESS_POLL, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poll = poll

    def wait_for(self, run: Run, check: str, seconds: float, method: str) -> None:
        """Return when `check` is ready now; otherwise defer, and go on in `method` when it is decided."""
        answer = check_now(run, check)
        self.log.info("%s", answer.message)
        if answer.phase is Phase.READY:
            return
        if answer.phase is Phase.FAILED:
            raise shortage(answer.message)(f"{answer.message}. No traffic was moved to the canary.")
        frozen, deadline = run.frozen.to_json(), run.cluster.time() + seconds
        self.defer(
            trigger=ReadyTrigger(frozen=frozen, check=check, deadline=deadline, poll=self.poll),
            method_name=method,
            timeout=timedelta(seconds=seconds) + TRIGGER_GRACE,
        )

    def require_ready(self, event: dict[str, Any]) -> None:
        """Raises NotReady unless the event of a ReadyTrigger says ready."""
        if event["phase"] == Phase.READY:
            return
        late = " before the deadline" if event["phase"] == Phase.WAITING else ""
        raise shortage(event["message"])(
            f"Not ready{late}: {event['message']}. No traffic was moved to the canary."
        )


class NodesOperator(WaitingOperator):
    """Base of tasks that wait for nodes: when none come, what this run created for them is deleted first."""

    def wait_for_nodes(self, context: Context, run: Run, check: str, method: str) -> None:
        """As `wait_for`, with the deadline of nodes."""
        try:
            self.wait_for(run, check, run.plan.deadlines.nodes, method)
        except NotReady as error:
            self._clean_up(context, error)

    def require_nodes(self, context: Context, event: dict[str, Any]) -> None:
        """As `require_ready`, and cleans up before it raises."""
        try:
            self.require_ready(event)
        except NotReady as error:
            self._clean_up(context, error)

    def _clean_up(self, context: Context, error: NotReady) -> None:
        self.log.warning("%s", error)
        context["ti"].xcom_push(key=FAILURE, value=str(error))
        run = run_of(context)
        self.wait_for(run, "nodes_gone", run.plan.deadlines.nodes, "cleaned_up")
        raise error

    @records_failure
    @resumes
    def cleaned_up(self, context: Context, event: dict[str, Any]) -> None:
        """Raises NotReady, for the reason that no nodes came."""
        self.log.info("%s", event["message"])
        failure = str(context["ti"].xcom_pull(task_ids=self.task_id, key=FAILURE))
        left = (
            "" if event["phase"] == Phase.READY else f" What was created is still there: {event['message']}."
        )
        raise shortage(failure)(failure + left)


class ProvisionNodes(NodesOperator):
    """Provisions nodes with enough free accelerators for the canary, or leaves that to its pods."""

    ui_color = "#e6f4ea"

    @records_failure
    def execute(self, context: Context) -> None:
        run = run_of(context)
        nodes_of(run).request()
        self.wait_for_nodes(context, run, "nodes", "nodes_decided")

    @records_failure
    @resumes
    def nodes_decided(self, context: Context, event: dict[str, Any]) -> None:
        self.require_nodes(context, event)
