"""Preflight: read everything the rollout relies on, refuse what cannot work, write nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NoReturn

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import DownstreamTasksSkipped
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.limits import REFLEX_DEADLINE
from inference_rollouts.core.objects.readiness import Readiness
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.plan.versions import Event, Versions
from inference_rollouts.core.reporting import takeover
from inference_rollouts.core.reporting.digest import Ended
from inference_rollouts.core.reporting.forecast import markdown, summary
from inference_rollouts.core.reporting.report import Cause, Outcome, first_line
from inference_rollouts.core.run.parameters import VERSION, apply_parameters, override_of
from inference_rollouts.core.run.versioned import with_version
from inference_rollouts.core.schedule.outlook import openings
from inference_rollouts.hooks.clients import clients_of
from inference_rollouts.hooks.notifiers import check_notifications
from inference_rollouts.kinds import kind_of
from inference_rollouts.operators.base import (
    ENDED,
    FORECAST,
    PREFLIGHT,
    SUMMARY,
    WELL,
    earlier_token,
    records_failure,
    run_identity,
)
from inference_rollouts.operators.links import page_of_run
from inference_rollouts.operators.starting import not_now
from inference_rollouts.preflight.versions import Asked, Told, latest
from inference_rollouts.rollout.by_claims import end_by_claims
from inference_rollouts.rollout.claims import way_back_of
from inference_rollouts.rollout.common_time import time_of
from inference_rollouts.rollout.confirmation import await_confirmation, confirmation
from inference_rollouts.rollout.retrying import for_seconds
from inference_rollouts.rollout.run import Run

EVENTS = 100  # of an asset that are looked at, the newest


class Preflight(BaseOperator):
    """Checks plan, route, pools, cluster and Prometheus, then freezes what later tasks read.

    A dry run ends here, with what it would do as XCom `forecast`.
    """

    ui_color = "#e8f0fe"

    def __init__(self, *, plan: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    @records_failure
    def execute(self, context: Context) -> dict[str, Any]:
        # Imported on use: no other task starts with it, and numpy.
        from inference_rollouts.preflight import calendar
        from inference_rollouts.preflight.current import with_current
        from inference_rollouts.preflight.measuring import check_power
        from inference_rollouts.preflight.prospects import prospects
        from inference_rollouts.rollout.busy_store import patient
        from inference_rollouts.rollout.observation import exporters_of

        plan = apply_parameters(parse_plan(self.plan), context["params"])
        check_notifications(plan)
        clients = patient(clients_of(plan))
        if token := earlier_token(context):
            back = for_seconds(REFLEX_DEADLINE, hurries=True)
            confirmed = back(_bring_back, clients.cluster, token)
            self.log.info("what an earlier try of this run claimed is as it was: %s", confirmed.message)
        if why := not_now(context, plan, time.time()):
            self._not_begun(context, plan, why, "its schedule")
        plan, version = self._versioned(context, clients, plan)
        if (named := with_current(clients.cluster, plan)) is None:
            self._nothing_new(context, plan, f"{plan.canary} has all traffic already: there is nothing new")
        plan = named
        when, now = calendar.calendar_of(plan, override_of(context["params"])), time_of(clients.cluster)
        calendar.check(plan, when, now)
        run = context["dag_run"]
        link = page_of_run(run.dag_id, run.run_id)
        frozen = replace(
            kind_of(plan).freeze(clients, run_identity(context)), link=link, calendar=when, version=version
        )
        if context["params"].get("dry_run"):
            self._forecast(context, Run(frozen, clients, kind_of(frozen.plan)))
        own = exporters_of(clients.cluster, frozen)
        table, missed = check_power(clients.prometheus, frozen, clients.cluster.time(), own)
        self.log.info("what each step can detect:\n%s", table)
        for sentence in [*missed, *prospects(clients, frozen, now)]:
            self.log.warning("%s", sentence)
        context["ti"].xcom_push(key="power", value=table)
        context["ti"].xcom_push(key="takeover", value=takeover.table(frozen.findings))
        context["ti"].xcom_push(key="openings", value=openings(when, now) if when.restricts else [])
        weights = [step.weight for step in plan.steps]
        moved = ", ".join(map(str, frozen.targets))
        self.log.info("%s -> %s on %s: weights %s", plan.stable, plan.canary, moved, weights)
        return frozen.to_json()

    def _versioned(self, context: Context, clients: Clients, plan: Plan) -> tuple[Plan, str]:
        """The plan with the version that this run rolls out, and that; as it is where it names one itself.

        What an earlier try has chosen stays chosen: Airflow keeps it when a run is tried again or cleared.
        """
        if plan.versions is None:
            return plan, ""
        asked = Asked(
            run=run_identity(context),
            named=str(context["params"].get(VERSION) or ""),
            kept=str(context["task_state_store"].get(VERSION) or ""),
            events=_events(context, plan.versions),
            cluster_of=lambda other: clients_of(other).cluster,
        )
        choice = latest(plan, plan.versions, clients, asked, time.time())
        if choice.version is None:
            self._nothing_new(context, plan, choice.sentence, choice.rolled_back)
        context["task_state_store"].set(VERSION, str(choice.version), retention=NEVER_EXPIRE)
        self.log.info("rolls out %s. %s", choice.version, choice.sentence)
        return with_version(plan, choice.version), str(choice.version)

    def _forecast(self, context: Context, run: Run) -> NoReturn:
        """Leave what the run would do as XCom, and skip everything but the report of it."""
        from inference_rollouts.preflight.forecast import forecast

        seen, ti = forecast(run, run.cluster.time()), context["ti"]
        ti.xcom_push(key=FORECAST, value=markdown(seen))
        self.log.info("%s", markdown(seen))
        self._end(context, summary(seen))

    def _nothing_new(self, context: Context, plan: Plan, why: str, rolled_back: float = 0.0) -> NoReturn:
        """The same for a plan that is where it should be: what comes after it may start.

        Unless a version was `rolled_back` (Unix seconds) in the same night.
        """
        if not context["params"].get("dry_run"):
            context["ti"].xcom_push(key=WELL, value={"plan": plan.name, "rolled_back": rolled_back})
        self._not_begun(context, plan, why, "preflight", nothing_new=True)

    def _not_begun(
        self, context: Context, plan: Plan, why: str, by: str, *, nothing_new: bool = False
    ) -> NoReturn:
        """The same for a run that ends before it begins, as it should."""
        now = time.time()
        ended = Ended(
            stable=plan.stable,
            canary=plan.canary,
            version="",
            began=now,
            ended=now,
            outcome=Outcome.NOT_STARTED.value,
            why=why,
            nothing_new=nothing_new,
        )
        context["ti"].xcom_push(key=ENDED, value=ended.to_json())
        title = f"a new version of {plan.name}" if plan.versions else f"{plan.stable} -> {plan.canary}"
        self._end(context, first_line(title, Outcome.NOT_STARTED, Cause(why, by)))

    def _end(self, context: Context, text: str) -> NoReturn:
        """End the run as a success, with nothing written, and a report that is `text`."""
        self.log.info("%s", text)
        context["ti"].xcom_push(key=SUMMARY, value=text)
        raise DownstreamTasksSkipped(
            tasks=[task for task in context["dag"].task_ids if task not in (PREFLIGHT, "begin", "report")]
        )


def _events(context: Context, versions: Versions) -> list[Told]:
    """The events of the asset that versions come from, the newest first."""
    if not isinstance(versions.source, Event):
        return []
    events = context["inlet_events"][Asset(versions.source.asset)].ascending(False).limit(EVENTS)
    return [Told(event.extra or {}, event.timestamp.timestamp()) for event in events]


def _bring_back(cluster: Cluster, token: str) -> Readiness:
    """One try to end what an earlier try of this run claimed, and whether gateways have taken that."""
    way_back = way_back_of(cluster, token)
    end_by_claims(cluster, way_back, "the run was cleared", cluster.time())
    return await_confirmation(lambda: confirmation(cluster, way_back.targets))


class InvalidPlan(BaseOperator):
    """Stands for a plan that could not be read."""

    def __init__(self, *, mistake: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mistake = mistake

    def execute(self, context: Context) -> None:
        raise PlanInvalid(f"{self.mistake} Nothing was written.")
