"""Puts what a rollout is to do, and its report, into the note of its DAG run, where people see it first.

Airflow calls this in the scheduler (or, for a run whose state a person sets, in the API server), inside a
transaction that is not ours: nothing is committed here, nothing is raised, and the one write stands behind a
savepoint, so that a person who writes a note at the same moment cannot break the scheduler's transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

from inference_rollouts.core.reporting.links import run_page
from inference_rollouts.core.reporting.note import note_with, opening

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

TAG = "inference-rollout"
log = logging.getLogger(__name__)


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    note(dag_run, lambda session: _opening(dag_run))


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    note(dag_run, lambda session: _report(session, dag_run))


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    note(dag_run, lambda session: _report(session, dag_run))


def note(dag_run: DagRun, report: Callable[[Session], str | None]) -> None:
    """Add a report to the run's note, below what people wrote. A failure is logged and forgotten."""
    try:
        if TAG not in getattr(dag_run.dag, "tags", ()):
            return
        with _session_of(dag_run) as session:
            if text := report(session):
                _write(session, dag_run, text)
    except Exception:
        log.exception("could not note the report of %s %s", dag_run.dag_id, dag_run.run_id)


@contextmanager
def _session_of(dag_run: DagRun) -> Iterator[Session]:
    """The session that holds the run; one of our own for a run that none holds, as under `dag.test()`."""
    from airflow.utils.session import create_session
    from sqlalchemy.orm import object_session

    if session := object_session(dag_run):
        yield session
        session.expire(dag_run, ["dag_run_note"])
    else:
        with create_session(scoped=False) as own:
            yield own


def _opening(dag_run: DagRun) -> str | None:
    """What a run that begins is to do; None for a DAG that moves nothing."""
    from airflow.configuration import conf

    params = {**(dag_run.dag.params if dag_run.dag else {}), **(dag_run.conf or {})}
    if "canary" not in params:
        return None
    link = run_page(conf.get("api", "base_url", fallback="") or "", dag_run.dag_id, dag_run.run_id)
    return opening(params, dag_run.dag_id, dag_run.triggering_user_name or "", link)


def _report(session: Session, dag_run: DagRun) -> str | None:
    """The newest XCom `report` of a run; None while no task has left one."""
    from airflow.models.xcom import XComModel

    query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key="report", limit=1)
    row: Any = session.scalars(query).first()
    value = XComModel.deserialize_value(row) if row else None
    return value if isinstance(value, str) else None


def _write(session: Session, dag_run: DagRun, report: str) -> None:
    """Upsert in SQL, not through the ORM: a session's own savepoint counts as a commit to the scheduler."""
    from airflow.models.dagrun import DagRunNote
    from sqlalchemy import insert, select, update

    session.flush()
    connection = session.connection()
    this = DagRunNote.dag_run_id == dag_run.id
    with connection.begin_nested():
        row = connection.execute(select(DagRunNote.content, DagRunNote.user_id).where(this)).first()
        text = note_with(
            report, row.content if row else None, by_person=bool(row and row.user_id is not None)
        )
        if text is None:
            return
        values = {"content": text, "user_id": None}
        if row:
            connection.execute(update(DagRunNote).where(this).values(values))
        else:
            connection.execute(insert(DagRunNote).values(dag_run_id=dag_run.id, **values))
