"""Marks of what was told, as XComs of the task `preflight`: they are its rollout's, whoever sets them.

Airflow removes them when that task starts again, which makes another rollout of the run; retries and clears
of other tasks, and the death of whoever told, leave them. A mark that cannot be read or kept is none: people
are told again, with the same id, rather than never.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from airflow.sdk.execution_time.xcom import XCom

from inference_rollouts.core.reporting.told import Mark

KEEPER = "preflight"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class XComMarks:
    """The marks of a run. Safe to use from threads, as all that Airflow is asked."""

    dag_id: str
    run_id: str

    def get(self, name: str) -> Mark | None:
        try:
            value = XCom.get_one(key=name, dag_id=self.dag_id, task_id=KEEPER, run_id=self.run_id)
            return None if value is None else Mark.from_json(value)
        except Exception as error:
            log.warning("nobody knows whether %s was sent: %s", name, error)
            return None

    def set(self, name: str, mark: Mark) -> None:
        try:
            XCom.set(name, mark.to_json(), dag_id=self.dag_id, task_id=KEEPER, run_id=self.run_id)
        except Exception as error:
            log.warning("nobody will know that %s was sent: %s", name, error)
