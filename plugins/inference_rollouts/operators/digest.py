"""The morning report: gathers how last night's runs ended and says so once, for all plans."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from pydantic import ValidationError

from inference_rollouts.clients.include import load_plans
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.files import accept
from inference_rollouts.core.plan.notifications import Occasion
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.digest import (
    Digest,
    Ended,
    MorningReport,
    Service,
    following,
    markdown,
    page,
    waiting,
    worth_telling,
)
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.schedule.outlook import openings
from inference_rollouts.hooks.clients import clients_of
from inference_rollouts.hooks.notifiers import send
from inference_rollouts.hooks.storage import ObjectStorage
from inference_rollouts.operators.base import ENDED
from inference_rollouts.operators.links import page_of_run
from inference_rollouts.operators.places import in_each
from inference_rollouts.operators.schedules import next_start
from inference_rollouts.operators.starting import NOT_NOW
from inference_rollouts.preflight.calendar import calendar_of
from inference_rollouts.rollout.overview import overview

_BEGAN = re.compile(r"__(\d{4}-\d{2}-\d{2}T[^_]+)")  # in a run's id, as Airflow makes it
REACH = 8 * 86400.0  # seconds before the night in which a run that ended in it may have begun


class ReportNight(BaseOperator):
    """Pushes XComs `report` (Markdown, the run's note) and `html`, writes both below `storage`, if given, and
    sends them to whom plans name for it.

    Parameters: `hours` that the report reaches back, `timezone` in which it speaks, `storage`.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> None:
        params, now = context["params"], time.time()
        plans, _ = accept(load_plans())
        since, zone = now - float(params["hours"]) * 3600.0, str(params["timezone"])
        digest = self._digest(context, plans, since, now, zone)
        text, html = markdown(digest), page(digest)
        for key, value in (("report", text), ("html", html)):
            context["ti"].xcom_push(key=key, value=value)
        self.log.info("%s", text)
        if folder := params.get("storage"):
            storage = ObjectStorage()
            storage.write(folder, "digest.md", [text])
            storage.write(folder, "digest.html", [html])
        run = context["dag_run"]
        link = page_of_run(run.dag_id, run.run_id)
        self._tell(plans, MorningReport(digest, f"{run.dag_id}/{run.run_id}", link))

    def _tell(self, plans: list[Plan], report: MorningReport) -> None:
        """Once to each address that a plan names. Best effort: the report stands here all the same."""
        receivers = {
            (each.by, each.connection, each.to): each
            for plan in plans
            for each in plan.notifications
            if Occasion.DIGEST in each.of
        }
        for receiver in receivers.values():
            try:
                send(receiver, report)
            except Exception as error:
                what = f"{receiver.by.value} {receiver.connection}"
                self.log.warning("the report was not taken by %s: %s", what, error)

    def _digest(self, context: Context, plans: list[Plan], since: float, until: float, zone: str) -> Digest:
        ended = {plan.name: tuple(_ended(context, plan, since)) for plan in plans}
        doing, unknown = self._doing(plans)
        services = []
        for plan in plans:
            idle = not ended[plan.name] and plan.name not in {*doing, *unknown}
            services.append(
                Service(
                    name=plan.name,
                    ended=worth_telling(ended[plan.name]),
                    doing=doing.get(plan.name, ""),
                    unknown=unknown.get(plan.name, ""),
                    waits=(_not_now(context, plan, since) or waiting(plan.after, ended)) if idle else "",
                    next=_next(plan, until),
                )
            )
        return Digest(tuple(services), since, until, zone)

    def _doing(self, plans: list[Plan]) -> tuple[dict[str, str], dict[str, str]]:
        """Where each rollout is that still goes on, and why nobody knows it of a plan, by the plans' names.

        Each cluster and namespace is asked once, all of them side by side.
        """
        places: dict[tuple[str, str], list[Plan]] = {}
        for plan in plans:
            places.setdefault((plan.connections.kubernetes, plan.namespace), []).append(plan)
        doing: dict[str, str] = {}
        unknown: dict[str, str] = {}
        for there, seen in in_each(list(places.values()), self._seen):
            if isinstance(seen, str):
                unknown |= {plan.name: seen for plan in there}
            else:
                doing |= {status.plan: status.headline for status in seen}
        return doing, unknown

    def _seen(self, there: list[Plan]) -> list[Status] | str:
        """What goes on where these plans are, or why nobody knows."""
        try:
            return overview(clients_of(there[0]).cluster).statuses
        except Exception as error:
            self.log.warning("nobody knows what goes on in namespace %s: %s", there[0].namespace, error)
            return str(error) or type(error).__name__


def _ended(context: Context, plan: Plan, since: float) -> Iterator[Ended]:
    """How the plan's runs ended that did since then, in the order in which they did."""
    told = _left(context, plan.dag_id, "report", ENDED, since - REACH)
    found = [each for value in told if (each := _read(value))]
    yield from sorted((each for each in found if each.ended >= since), key=lambda each: each.ended)


def _not_now(context: Context, plan: Plan, since: float) -> str:
    """Why the DAG that starts the plan's rollouts, if there is one, started none the last time since then."""
    told = list(_left(context, plan.start_dag_id, "rollout", NOT_NOW, since)) if plan.airflow_pool else []
    return str(told[-1]) if told else ""


def _left(context: Context, dag_id: str, task: str, key: str, since: float) -> Iterator[Any]:
    """What a task left in the runs of a DAG that began since then, the oldest first."""
    ti = context["ti"]
    states: Mapping[str, Any] = ti.get_task_states(dag_id=dag_id, task_ids=[task])
    for run in sorted((run for run in states if _began(run) >= since), key=_began):
        if value := ti.xcom_pull(dag_id=dag_id, task_ids=task, key=key, run_id=run):
            yield value


def _read(value: Any) -> Ended | None:
    try:
        return Ended.from_json(value)
    except ValidationError:
        return None


def _began(run_id: str) -> float:
    """When a run began, by its id (Unix seconds); one with an id of its own may have begun just now."""
    found = _BEGAN.search(run_id)
    try:
        return datetime.fromisoformat(found[1]).timestamp() if found else math.inf
    except ValueError:
        return math.inf


def _next(plan: Plan, now: float) -> str:
    """When it starts again, and may move; where its calendar cannot be read, that: the others are told of."""
    try:
        calendar = calendar_of(plan)
    except PlanInvalid as error:
        return f"does not start: {str(error).rstrip('.')}"
    due = next_start(plan.schedule, now) if plan.schedule else None
    first = openings(calendar, max(now, due or now))[:1] if calendar.restricts else []
    return following(plan, due, first[0] if first else "")
