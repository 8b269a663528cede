"""What the tasks of a rollout share: the frozen plan, the cluster, and which errors are worth a retry."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from airflow.sdk import BaseOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import TaskDeferralTimeout

from inference_rollouts.core.errors import PassingError, RolloutError, RouteDrift
from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.reporting.status import Status
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.hooks.clients import open_run
from inference_rollouts.operators.branching import following, rule_out
from inference_rollouts.rollout.run import Run
from inference_rollouts.triggers.event import EVENT_TOKEN
from inference_rollouts.triggers.publishing import STATUS

PREFLIGHT = "preflight"
FAILURE = "failure"  # the XCom that says why a task failed
DRIFT = "drift"  # and the one that says what somebody else changed
FORECAST = "forecast"  # the XCom of a dry run: all that it would do
SUMMARY = "summary"  # and the one with the most important of it
TOKEN = "token"  # the XCom that says for which try of the run objects were claimed
PLACE = "place"  # and the one that says where
BY_SCHEDULE = frozenset({"scheduled", "backfill"})  # types of runs that nobody started
ENDED = "ended"  # the XCom of task report: how the run ended, for the morning report
WELL = "well"  # the XCom of a run that found nothing new: of which plan, and what was rolled back when
CLAIMING = frozenset({"deploy_pool", "load_adapter"})

T = TypeVar("T")

log = logging.getLogger(__name__)

# A RolloutError is a decision and will not change by itself; anything else may be the network, or an API
# server that allows nothing while it starts: over two minutes of it are outlasted.
RETRIES: dict[str, Any] = {
    "retries": 8,
    "retry_delay": timedelta(seconds=2),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(seconds=30),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=RolloutError, action=RetryAction.FAIL, reason="a decision, not an accident"),
            RetryRule(exception=TaskDeferralTimeout, action=RetryAction.FAIL, reason="the time is over"),
        ]
    ),
}

# Restoring traffic is tried without end: by the task itself, and again when the task dies.
ROLLBACK_RETRIES: dict[str, Any] = {"retries": 10_000, "max_retry_delay": timedelta(minutes=1)}


# Where slots are scarce, as when two hundred plans start at one time: what has begun ends before others
# begin, and what takes traffic back, watches or obeys people waits for none of them.
BEGUN_FIRST: dict[str, Any] = {"weight_rule": "upstream"}
BEFORE_ALL: dict[str, Any] = {"weight_rule": "absolute", "priority_weight": 1000}


def records_failure(act: Callable[..., T]) -> Callable[..., T]:
    """An operator's method that leaves why it failed as XCom, for the rollback and the report to repeat.

    What a decision rules out is skipped at once.
    """

    @wraps(act)
    def recorded(self: BaseOperator, context: Context, *args: Any, **kwargs: Any) -> T:
        try:
            return act(self, context, *args, **kwargs)
        except (RolloutError, PassingError) as error:
            context["ti"].xcom_push(key=FAILURE, value=str(error))
            if isinstance(error, RouteDrift):
                context["ti"].xcom_push(key=DRIFT, value=str(error))
            if isinstance(error, RolloutError):
                rule_out(following(self))
            raise

    return recorded


def resumes(go_on: Callable[..., T]) -> Callable[..., T]:
    """An operator's method that goes on with a trigger's event; for one of an earlier try it begins anew.

    A run may be cleared at the very moment at which an event arrives.
    """

    @wraps(go_on)
    def resumed(self: BaseOperator, context: Context, event: dict[str, Any]) -> T:
        token = frozen_plan(context).token
        if event.get(EVENT_TOKEN, token) == token:
            return go_on(self, context, event)
        self.log.warning("what was awaited was for an earlier try of this run; it begins anew")
        return cast(T, self.execute(context))

    return resumed


def run_identity(context: Context) -> str:
    """Who this run is to the cluster: the same for every task, try and clear of one DAG run."""
    run = context["dag_run"]
    return f"{run.dag_id}/{run.run_id}"


def frozen_plan(context: Context) -> Frozen:
    """What preflight froze; raises PlanInvalid when it is missing or was changed."""
    return Frozen.from_json(context["ti"].xcom_pull(task_ids=PREFLIGHT) or {})


def too_late(context: Context, plan: Plan, now: float) -> str:
    """Why a run that Airflow started by the plan's schedule is not to go on; empty where it is.

    Airflow starts the last time that was missed when a DAG is added or unpaused, and after an outage.
    """
    run = context["dag_run"]
    if plan.schedule is None or run.run_type not in BY_SCHEDULE:
        return ""
    return plan.schedule.too_late(run.run_after.timestamp(), now)


def keep_token(context: Context, run: Run) -> None:
    """Remember which rollout this run claims its objects for, before it claims them."""
    place = {"kubernetes": run.plan.connections.kubernetes, "namespace": run.plan.namespace}
    context["ti"].xcom_push(key=PLACE, value=place)
    context["ti"].xcom_push(key=TOKEN, value=run.frozen.token)


def earlier_token(context: Context) -> str | None:
    """The token of an earlier try of this very run, whose claims are its own to bring back.

    The task that claimed keeps it until it starts again, which a cleared run's does after preflight.
    """
    return next(filter(None, _left_by_claiming(context, TOKEN)), None)


def earlier_place(context: Context) -> dict[str, str]:
    """The connection and namespace in which that try claimed them; empty where nobody knows."""
    return next(filter(None, _left_by_claiming(context, PLACE)), {})


def _left_by_claiming(context: Context, key: str) -> list[Any]:
    """Also where the plan has become invalid since, and its DAG has no such tasks any more."""
    return [context["ti"].xcom_pull(task_ids=task, key=key) for task in sorted(CLAIMING)]


def tell(context: Context, find: Callable[[], Status]) -> None:
    """Leave where the rollout is as XCom, as a trigger does while a task waits. Best effort."""
    try:
        context["ti"].xcom_push(key=STATUS, value=find().to_json())
    except Exception as error:
        log.warning("could not publish where the rollout is: %s", error)


def run_of(context: Context) -> Run:
    """The run of a task: what preflight froze, validated, and the clients. Raises PlanInvalid."""
    return open_run(frozen_plan(context))
