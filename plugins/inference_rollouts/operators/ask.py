"""Asks a person about a step, where the plan or its judge wants one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from inference_rollouts.core.errors import ClaimLost, CommandRefused, RolloutError
from inference_rollouts.core.judging.judgement import Judgement, Verdict
from inference_rollouts.core.limits import JUDGE_GRACE, LONGEST_HOLD, WRITE_DEADLINE
from inference_rollouts.core.reporting.approval import GO_ON, ROLL_BACK, answered, question
from inference_rollouts.core.routing.claim import What
from inference_rollouts.core.run.pace import answered_by
from inference_rollouts.operators.base import frozen_plan, records_failure, resumes, run_of
from inference_rollouts.operators.branching import pass_on
from inference_rollouts.operators.history import ANSWERED_BY, keep_person
from inference_rollouts.rollout.control import Control
from inference_rollouts.rollout.retrying import for_seconds
from inference_rollouts.rollout.run import Run
from inference_rollouts.triggers.event import error_of

OPTIONS = [GO_ON, ROLL_BACK]


class Ask(BaseOperator):
    """Its XCom is what becomes of the judge's judgement: a person's, or an alarm's.

    Where there is nothing to ask it is skipped. Like the judge it fails when it is to roll back. What lets
    the next raise happen stands on the claim, so that no accident of this task passes for a yes.
    """

    ui_color = "#fde7f3"

    def __init__(self, *, judge: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.judge = judge

    @records_failure
    def execute(self, context: Context) -> None:
        # Imported on use: it watches the step meanwhile, with numpy.
        from inference_rollouts.triggers.ask import AskTrigger

        frozen, ti = frozen_plan(context), context["ti"]
        judgement = self._judgement(context)
        asked = question(frozen.plan, judgement)
        if asked is None or ti.xcom_pull(task_ids=self.judge, key=ANSWERED_BY):
            raise AirflowSkipException(f"Nobody needs to be asked: {judgement.reason}")
        approvals, run = frozen.plan.approvals, run_of(context)

        def wait() -> None:
            now = run.cluster.time()
            run.traffic.wait(answered_by(frozen.plan, frozen.calendar, now) - now)

        for_seconds(WRITE_DEADLINE)(wait)
        began = run.cluster.time()  # not when it was judged: who is asked late has as long to answer
        asked = question(frozen.plan, judgement, began) or asked
        upsert_hitl_detail(
            ti_id=ti.id,
            options=OPTIONS,
            subject=asked.subject,
            body=asked.body,
            defaults=[asked.default],
            params={},
        )
        self.log.info("asked: %s\n%s", asked.subject, asked.body)
        self.defer(
            trigger=AskTrigger(
                frozen=frozen.to_json(),
                judgement=judgement.to_json(),
                ti_id=ti.id,
                options=OPTIONS,
                defaults=[asked.default],
                params={},
                timeout_datetime=datetime.fromtimestamp(began + approvals.timeout, UTC),
            ),
            method_name="decided",
            timeout=timedelta(seconds=approvals.timeout) + JUDGE_GRACE + LONGEST_HOLD,
        )

    @records_failure
    @resumes
    def decided(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Raises RolloutError when the route was lost to others meanwhile."""
        if "error" in event:
            raise error_of(event)
        if "judgement" in event:
            for key in ("record", "points"):
                context["ti"].xcom_push(key=key, value=event[key])
            keep_person(context, event)
            result: dict[str, Any] = event["judgement"]
        else:
            result = self._answered(context, event).to_json()
        self.log.info("%s: %s", result["verdict"], result["reason"])
        return pass_on(self, context, result, len(frozen_plan(context).plan.all_steps))

    def _answered(self, context: Context, event: dict[str, Any]) -> Judgement:
        """What becomes of a person's answer, which is a command; a yes permits the next raise."""
        run = run_of(context)
        judgement = answered(run.plan, self._judgement(context), event)
        person = (event.get("responded_by_user") or {}).get("name")
        if person and not event.get("commanded"):
            self._command(run, judgement, person)
        context["ti"].xcom_push(key=ANSWERED_BY, value=person or "nobody's answer in time")
        if judgement.verdict is Verdict.ADVANCE:
            for_seconds(WRITE_DEADLINE)(run.traffic.permit, judgement.step, run.cluster.time())
        return judgement

    def _command(self, run: Run, judgement: Judgement, person: str) -> None:
        """Leave the answer on the claims, as any command. A pause does not keep a person from answering."""
        what = What.RAISE_NOW if judgement.verdict is Verdict.ADVANCE else What.ABORT
        control = Control(run.cluster, run.frozen.targets, run.frozen.token)
        try:
            for_seconds(WRITE_DEADLINE)(control.give, what, person, "the answer to the question")
        except (CommandRefused, ClaimLost) as error:
            self.log.info("%s", error)

    def _judgement(self, context: Context) -> Judgement:
        """What the judge concluded; raises RolloutError when it concluded nothing."""
        if not (judgement := context["ti"].xcom_pull(task_ids=self.judge)):
            raise RolloutError(f"Task {self.judge} left no judgement, so nobody can be asked about it.")
        return Judgement.from_json(judgement)
