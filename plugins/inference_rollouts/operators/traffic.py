"""Move weights: one step up, to the end, or back."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from inference_rollouts.core.errors import Held, NotReady, PlanInvalid, WindowClosed
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.limits import (
    LONGEST_HOLD,
    READINESS_POLL,
    RETURN_PATIENCE,
    TRIGGER_GRACE,
    WRITE_DEADLINE,
)
from inference_rollouts.core.objects.readiness import Phase
from inference_rollouts.core.plan.common import Connections
from inference_rollouts.core.reporting.report import Cause
from inference_rollouts.core.reporting.status import status_of
from inference_rollouts.core.routing.claim import Claim
from inference_rollouts.core.routing.claim import Phase as ClaimPhase
from inference_rollouts.core.routing.permission import permits
from inference_rollouts.core.schedule.moves import require_open
from inference_rollouts.hooks.clients import clients_at
from inference_rollouts.operators.assets import announce_promotion, announce_rollback
from inference_rollouts.operators.base import (
    earlier_place,
    earlier_token,
    records_failure,
    resumes,
    run_of,
    tell,
)
from inference_rollouts.operators.history import (
    ALARM,
    RESTORED,
    cause,
    is_refused,
    keep_person,
    task_states,
)
from inference_rollouts.operators.links import ReportLink, StatusLink
from inference_rollouts.rollout.bring_back import bring_back
from inference_rollouts.rollout.by_claims import end_by_claims
from inference_rollouts.rollout.checks import check_now
from inference_rollouts.rollout.claims import way_back_of
from inference_rollouts.rollout.confirmation import await_confirmation
from inference_rollouts.rollout.retrying import for_seconds, without_end
from inference_rollouts.rollout.run import Run
from inference_rollouts.rollout.way_back import Restored
from inference_rollouts.triggers.event import error_of


class _Forward(BaseOperator):
    """A move forward. It waits where it has to, while the step before it is watched."""

    @records_failure
    @resumes
    def decided(self, context: Context, event: dict[str, Any]) -> Any:
        """Raises NotReady when what was waited for did not come in time, or the canary an alarm meanwhile."""
        if event.get("drift"):
            raise error_of(event)
        if "error" in event:
            raise _refusal(event["error"])
        if "judgement" in event:
            context["ti"].xcom_push(key="record", value=event["record"])
            context["ti"].xcom_push(key=ALARM, value=event["judgement"])
            keep_person(context, event)
            raise _refusal(event["judgement"]["reason"])
        if event["phase"] != Phase.READY:
            raise _refusal(event["message"])
        return self._move(context, run_of(context))

    @abstractmethod
    def _move(self, context: Context, run: Run) -> Any:
        """Move now, or wait on."""

    def _wait(self, context: Context, run: Run, check: str, before: int, opens: float) -> NoReturn:
        """Until `check` (of `CHECKS`) is ready, from `opens` (Unix time) on; step `before` is watched."""
        # Imported on use: it watches with numpy, which a rollback does not wait for.
        from inference_rollouts.triggers.room import RoomTrigger

        deadline = opens + run.plan.deadlines.route
        self.defer(
            trigger=RoomTrigger(
                judgement=_judged(context, before),
                opens=opens,
                frozen=run.frozen.to_json(),
                check=check,
                deadline=deadline,
                poll=READINESS_POLL,
            ),
            method_name="decided",
            timeout=timedelta(seconds=max(0.0, deadline - run.cluster.time())) + TRIGGER_GRACE + LONGEST_HOLD,
        )


class ShiftWeight(_Forward):
    """Gives the canary what step `step` (from 1) of the plan says, at a time that the plan's windows allow,
    once both pools have room for it and nobody holds the rollout.
    """

    ui_color = "#e8f0fe"
    operator_extra_links = (StatusLink(),)

    def __init__(self, *, step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    @records_failure
    def execute(self, context: Context) -> dict[str, Any]:
        run = run_of(context)
        claims = run.traffic.claims()
        if self._has_begun(claims):
            return self._move(context, run)
        if undecided := _undecided(claims):
            raise _refusal(undecided)  # nobody would watch it while it waits
        try:
            require_open(run.frozen.calendar, self.step, run.cluster.time())
        except WindowClosed as closed:
            self._wait_for_window(context, run, closed)
        room = check_now(run, self._check)
        if room.phase is Phase.FAILED:
            raise _refusal(room.message)
        if room.phase is Phase.WAITING:
            self._wait_for_room(context, run, run.cluster.time(), room.message)
        self.log.info("%s", room.message)
        return self._move(context, run)

    def _move(self, context: Context, run: Run) -> dict[str, Any]:
        step = self._planned(run)
        now = run.cluster.time()
        try:
            since = for_seconds(WRITE_DEADLINE)(run.traffic.shift, self.step, step, now)
        except WindowClosed as closed:
            self._wait_for_window(context, run, closed)
        except Held as held:
            self._wait_for_room(context, run, now, str(held))
        self.log.info("%s has %s of the traffic", run.plan.canary, step)
        tell(context, lambda: status_of(run.traffic.claims()))
        return {"percent": step.weight, "mirror": step.mirror, "since": since}

    def _wait_for_window(self, context: Context, run: Run, closed: WindowClosed) -> NoReturn:
        """Raises NotReady where no window is to be waited for."""
        if closed.opens is None:
            raise _refusal(str(closed)) from closed
        now = run.cluster.time()
        for_seconds(WRITE_DEADLINE)(run.traffic.wait, closed.opens + run.plan.deadlines.route - now)
        self._wait_for_room(context, run, closed.opens, str(closed))

    def _wait_for_room(self, context: Context, run: Run, opens: float, why: str) -> NoReturn:
        self.log.info("the weights are not raised yet: %s", why)
        self._wait(context, run, self._check, self.step - 1, opens)

    @property
    def _check(self) -> str:
        return f"capacity:{self.step}"

    def _has_begun(self, claims: Sequence[Claim]) -> bool:
        """Whether an earlier try has raised weights already: it found room, and all move or none."""
        return any(claim.step == self.step for claim in claims)

    def _planned(self, run: Run) -> Step:
        return run.plan.all_steps[self.step - 1]


class Promote(_Forward):
    """Lets the routes go with all traffic on the canary, once nobody holds the rollout; the stable pool keeps
    running for a rollback.
    """

    ui_color = "#ceead6"

    @records_failure
    def execute(self, context: Context) -> None:
        self._move(context, run_of(context))

    def _move(self, context: Context, run: Run) -> None:
        now = run.cluster.time()
        try:
            for_seconds(WRITE_DEADLINE)(run.traffic.promote, now)
        except Held as held:
            self.log.info("not promoted yet: %s", held)
            self._wait(context, run, "free", len(run.plan.all_steps), now)
        announce_promotion(context, run.plan.name, run.plan.stable)


def _judged(context: Context, step: int) -> dict[str, Any] | None:
    """The judgement that let a step pass."""
    tasks = (f"step_{step}.{task}" for task in ("ask", "judge"))
    judgements = (context["ti"].xcom_pull(task_ids=task) for task in tasks)
    return next(filter(None, judgements), None)


def _undecided(claims: Sequence[Claim]) -> str:
    """Which step nobody let pass; empty where all is permitted, or goes back."""
    going = (claim for claim in claims if claim.phase is not ClaimPhase.RETURNING)
    return next((f"nothing says that step {each.step} passed" for each in going if not permits(each)), "")


def _refusal(why: str) -> NotReady:
    return NotReady(f"The weights were not raised: {why.rstrip('.')}.")


class Rollback(BaseOperator):
    """Puts the weights back exactly as found where this run still claims them; skips itself if nowhere.

    A promotion that was decided, and died halfway, is completed instead. XCom `restored` says what was done.
    What may pass is tried again without end, and so is a stable pool that cannot take its traffic yet.
    A teardown: it runs after an alarm, after any task died, and when a person marks the run as failed.
    """

    ui_color = "#fad2cf"
    operator_extra_links = (StatusLink(), ReportLink())

    def execute(self, context: Context) -> str:
        try:
            run = run_of(context)
        except PlanInvalid as error:
            return self._by_claims(context, error)
        ended, began = cause(context), time.monotonic()
        without_end()(lambda: self._announce(run, ended))

        def bring() -> Restored:
            patient = time.monotonic() < began + RETURN_PATIENCE
            kept = partial(run.kind.kept_share, run, patient=patient)
            try:
                return bring_back(run.traffic.way_back, kept, ended.why, run.cluster.time(), patient=patient)
            except Exception:
                run.traffic.way_back.watch("rollback")  # after the try: the traffic waits for no lease
                raise

        restored = without_end()(bring)
        context["ti"].xcom_push(key=RESTORED, value=restored.value)
        if restored is Restored.NOTHING:
            raise AirflowSkipException("This run claims nothing: there is nothing to restore.")
        if restored is Restored.COMMITTED and task_states(context).get("promote") == "success":
            raise AirflowSkipException("The canary is promoted: there is nothing to restore.")
        if restored is Restored.COMMITTED:
            self.log.info("The promotion was decided before it died: it is completed.")
            announce_promotion(context, run.plan.name, run.plan.stable)
            return str(restored)
        confirmed = await_confirmation(run.confirmation)
        self.log.info("weights: %s; %s: %s", restored, confirmed.phase, confirmed.message)
        if not run.frozen.adopted:  # what was there before stays
            announce_rollback(context, run.plan.name, run.plan.canary)
        return str(restored)

    def _announce(self, run: Run, ended: Cause) -> None:
        """The first line of the log: why it goes back, by whom, and where the traffic is now."""
        if claims := run.traffic.claims():
            status = status_of(claims, doing=f"rolled back by {ended.by}: {ended.why.rstrip('.')}")
            self.log.warning("%s", status.headline)

    def _by_claims(self, context: Context, error: PlanInvalid) -> str:
        """The same where preflight's word is lost. Raises `error` where nothing says what is to be ended."""
        token, place = earlier_token(context), earlier_place(context)
        if not token or not place:
            if is_refused(context):
                raise AirflowSkipException("Preflight decided nothing: there is nothing to restore.")
            raise error
        connections = Connections(kubernetes=place["kubernetes"])
        cluster = clients_at(connections, place["namespace"]).cluster

        def bring() -> Restored:
            return end_by_claims(cluster, way_back_of(cluster, token), str(error), cluster.time())

        restored = without_end()(bring)
        self.log.warning("%s By the claims alone: %s", error, restored)
        context["ti"].xcom_push(key=RESTORED, value=restored.value)
        return str(restored)
