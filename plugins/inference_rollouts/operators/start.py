"""Starts a plan's rollout, and keeps a slot of an Airflow pool until that has ended."""

from __future__ import annotations

import time
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.definitions.context import Context
from airflow.sdk.exceptions import AirflowSkipException

from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.operators.starting import NOT_NOW, not_now

POLL = 5  # seconds between two looks at whether the rollout has ended


class StartRollout(TriggerDagRunOperator):
    """One run of the plan's rollout. It skips itself, with XCom `not_now`, where that is not to start.

    While the rollout runs the task is deferred, and has its slot if the pool counts deferred tasks.
    """

    template_fields = ()
    ui_color = "#e8f0fe"

    def __init__(self, *, plan: dict[str, Any], trigger_dag_id: str, **kwargs: Any) -> None:
        super().__init__(
            trigger_dag_id=trigger_dag_id,
            logical_date=None,
            wait_for_completion=True,
            deferrable=True,
            poke_interval=POLL,
            **kwargs,
        )
        self.plan = plan

    def execute(self, context: Context) -> None:
        if why := not_now(context, parse_plan(self.plan), time.time()):
            context["ti"].xcom_push(key=NOT_NOW, value=why)
            raise AirflowSkipException(why)
        super().execute(context)
