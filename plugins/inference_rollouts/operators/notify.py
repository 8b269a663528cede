"""Tells people what has become of a run, when a task of it has ended.

Airflow calls this after it has been told of the task's end, so that nothing waits for it, and ends it after
`[core] task_success_overtime`. Each call finds anew what is to have been told, and tells what was not: the
one after `report` is the last, and misses nothing that an earlier one, that died, has left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.context import Context
from airflow.sdk.observability import stats

from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.plan.notifications import Notification
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.core.reporting.report import Outcome
from inference_rollouts.core.reporting.series import DURATION, OUTCOMES, Closed, Reason, closed_by_run, tags
from inference_rollouts.core.reporting.told import Mark
from inference_rollouts.core.reporting.transition import Transition, as_asked, reason_of, refusal, transitions
from inference_rollouts.hooks.notifiers import send
from inference_rollouts.operators.base import FAILURE, PREFLIGHT, frozen_plan, run_identity
from inference_rollouts.operators.history import course, is_refused
from inference_rollouts.operators.links import page_of_run
from inference_rollouts.rollout.telling import deliver
from inference_rollouts.triggers.marks import XComMarks

COUNTED = "counted"  # the mark of an end that was counted

log = logging.getLogger(__name__)


def notify(context: Context) -> None:
    """Tell what is to be told by now, if anybody wants to hear of it. Nothing is raised."""
    try:
        run = context["dag_run"]
        told, notifications = _transitions(context)
        if notifications:
            deliver(list(told), notifications, XComMarks(run.dag_id, run.run_id), send)
    except Exception:
        log.exception("people could not be told")


def telling(plan: Plan) -> dict[str, Any]:
    """Arguments of a task whose end people of this plan are to hear of."""
    if not plan.notifications:
        return {}
    return {"on_success_callback": notify, "on_failure_callback": notify}


def count(context: Context) -> None:
    """Count how a run ended, once, in Airflow's own metrics. Nothing is raised."""
    try:
        closed = _closed(context)
        run = context["dag_run"]
        marks = XComMarks(run.dag_id, run.run_id)
        if closed is None or marks.get(COUNTED):
            return
        marks.set(COUNTED, Mark(at=time.time(), taken=True))
        labels = tags({**closed.common, "outcome": closed.outcome})
        stats.incr(OUTCOMES.name, tags={**labels, "reason": closed.reason.value})
        if closed.seconds is not None:
            stats.timing(DURATION.name, timedelta(seconds=closed.seconds), tags=labels)
    except Exception:
        log.exception("the run's end was not counted")


LAST_WORDS: dict[str, Any] = {"on_success_callback": [count, notify], "on_failure_callback": [count, notify]}
"""Arguments of the task `report`."""


def _closed(context: Context) -> Closed | None:
    """How the run ended; None for one that was to move nothing."""
    outcome = context["ti"].xcom_pull(task_ids="report", key="outcome")
    if not outcome:
        return None
    try:
        frozen = frozen_plan(context)
    except PlanInvalid:
        plan = _plan(context)
        return closed_by_run(plan, Outcome(outcome), Reason.REFUSED, None) if plan else None
    seen = course(context, frozen)
    seconds = time.time() - frozen.began if frozen.began else None
    return closed_by_run(frozen.plan, Outcome(outcome), reason_of(seen), seconds)


def _transitions(context: Context) -> tuple[Iterable[Transition], tuple[Notification, ...]]:
    """What people are to have heard by now, and who."""
    try:
        frozen = frozen_plan(context)
    except PlanInvalid:
        plan = _plan(context)
        return (_refusals(context, plan), plan.notifications) if plan else ((), ())
    notifications = frozen.plan.notifications
    return transitions(course(context, frozen)) if notifications else (), notifications


def _refusals(context: Context, plan: Plan) -> Iterator[Transition]:
    """The same where nothing was frozen; nothing where that is as it should be, as after a dry run."""
    why = context["ti"].xcom_pull(task_ids=PREFLIGHT, key=FAILURE)
    if why or is_refused(context):
        run = context["dag_run"]
        link = page_of_run(run.dag_id, run.run_id)
        asked = as_asked(plan, context.get("params") or {})
        yield refusal(asked, run_identity(context), link, why or "the run was stopped before it began")


def _plan(context: Context) -> Plan | None:
    """The plan that the DAG is made of; None where it is not valid."""
    preflight: Any = context["dag"].task_dict[PREFLIGHT]
    plan = getattr(preflight, "plan", None)
    return parse_plan(plan) if plan else None
