"""Runs of rollouts as Airflow's database remembers them. It is only read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import and_, func, select

from inference_rollouts.core.plan.plan import Kind
from inference_rollouts.core.reporting.seen import SeenQuestion, SeenRun, SeenTask
from inference_rollouts.listener import TAG
from inference_rollouts.operators.base import PREFLIGHT
from inference_rollouts.triggers.publishing import STATUS

if TYPE_CHECKING:
    from sqlalchemy.orm import Session
    from sqlalchemy.sql import ColumnElement, Select

FINISHED = 60  # runs that are over, of which a list tells
INVALID = "invalid-plan"  # the tag of a DAG that only says what is wrong with its plan's file
PLANS = (*(kind.value for kind in Kind), INVALID)  # tags of the DAGs of plans, which move traffic
POINTS = "points"
RUNNING = ("running", "queued")
Key = tuple[str, str]  # a DAG's id, and a run's

_WHEN = func.coalesce(DagRun.end_date, DagRun.start_date, DagRun.queued_at)
_FROZEN = and_(XComModel.task_id == PREFLIGHT, XComModel.key == "return_value")


@dataclass(frozen=True, slots=True)
class PlanDag:
    """The DAG of a plan: whether it is paused, and when it starts next by itself (Unix seconds)."""

    dag: str
    description: str
    paused: bool
    next: float | None
    invalid: bool


def plan_dags() -> list[PlanDag]:
    """Those of all plans, whether they ever ran."""
    asked = (
        select(DagModel.dag_id, DagModel.description, DagModel.is_paused, DagModel.next_dagrun_create_after)
        .where(*_moves(DagModel.dag_id), DagModel.is_stale.is_(False))
        .order_by(DagModel.dag_id)
    )
    with _session() as session:
        invalid = set(session.scalars(_tagged(INVALID)))
        rows = session.execute(asked).all()
    return [PlanDag(row[0], row[1] or "", bool(row[2]), _unix(row[3]), row[0] in invalid) for row in rows]


def runs_in_flight() -> list[SeenRun]:
    """Every rollout that is not over, with its newest status and what a person is asked."""
    with _session() as session:
        return _listed(session, DagRun.state.in_(RUNNING), None)


def runs_that_ended(
    dags: Sequence[str] | None = None, before: float | None = None, most: int = FINISHED
) -> list[SeenRun]:
    """The latest that are over, the newest first, with how they ended; of these DAGs alone, if any, and of
    those that ended before a time (Unix seconds)."""
    over: list[ColumnElement[bool]] = [DagRun.state.not_in(RUNNING)]
    if dags is not None:
        over.append(DagRun.dag_id.in_(dags))
    if before is not None:
        over.append(datetime.fromtimestamp(before, UTC) > _WHEN)
    with _session() as session:
        return _listed(session, and_(*over), most)


def whole_run(dag: str, run: str) -> SeenRun | None:
    """A run with all that its tasks left; None where there is no such run of a rollout."""
    this = and_(DagRun.dag_id == dag, DagRun.run_id == run)
    with _session() as session:
        rows = session.execute(_runs(this, 1)).all()
        if not rows:
            return None
        left = _left(session, and_(this, ~_FROZEN))
        [seen] = _seen(session, this, rows, _tasks(session, this), left)
    return seen


def frozen_of(dag: str, run: str) -> Any:
    """What preflight froze for a run; None where it has not."""
    this = and_(DagRun.dag_id == dag, DagRun.run_id == run)
    with _session() as session:
        return _left(session, and_(this, _FROZEN)).get((dag, run), {}).get((PREFLIGHT, "return_value"))


def _listed(session: Session, which: ColumnElement[bool], most: int | None) -> list[SeenRun]:
    rows = session.execute(_runs(which, most)).all()
    ids = [row.id for row in rows]
    these = DagRun.id.in_(ids)
    short = and_(
        these,
        (XComModel.key == STATUS)
        | and_(XComModel.task_id == "report", XComModel.key.in_(("outcome", "reason")))
        | and_(XComModel.task_id == PREFLIGHT, XComModel.key == "summary"),
    )
    return _seen(session, these, rows, {}, _left(session, short)) if ids else []


@contextmanager
def _session() -> Iterator[Session]:
    with create_session(scoped=False) as session:
        yield session


def _tagged(*tags: str) -> Select[Any]:
    return select(DagTag.dag_id).where(DagTag.name.in_(tags))


def _moves(dag_id: Any) -> tuple[ColumnElement[bool], ...]:
    """That a DAG is that of a plan: others of ours retire, command, start, guard or tell."""
    return (dag_id.in_(_tagged(TAG)), dag_id.in_(_tagged(*PLANS)))


def _runs(which: ColumnElement[bool], most: int | None) -> Select[Any]:
    columns = (
        DagRun.id,
        DagRun.dag_id,
        DagRun.run_id,
        DagRun.state,
        DagRun.start_date,
        DagRun.end_date,
        DagRun.triggering_user_name,
        DagRun.conf,
    )
    return select(*columns).where(which, *_moves(DagRun.dag_id)).order_by(_WHEN.desc()).limit(most)


def _left(session: Session, which: ColumnElement[bool]) -> dict[Key, dict[tuple[str, str], Any]]:
    """What tasks left, by run; in order of time, so that of one key the newest status comes last."""
    asked = (
        select(XComModel.dag_id, XComModel.run_id, XComModel.task_id, XComModel.key, XComModel.value)
        .join(DagRun, DagRun.id == XComModel.dag_run_id)
        .where(which)
        .order_by(XComModel.timestamp)
    )
    left: dict[Key, dict[tuple[str, str], Any]] = defaultdict(dict)
    for row in session.execute(asked):
        value = (
            _plain(XComModel.deserialize_value(row))
            if row.key == POINTS
            else XComModel.deserialize_value(row)
        )
        left[row.dag_id, row.run_id][row.task_id, row.key] = value
        if row.key == STATUS:
            left[row.dag_id, row.run_id]["", STATUS] = value  # the newest of all tasks
    return left


def _plain(points: Any) -> Any:
    """A list of tuples as lists: Airflow keeps a tuple as what it is, and its data."""
    return [point["__data__"] if isinstance(point, dict) else point for point in points or ()]


def _tasks(session: Session, which: ColumnElement[bool]) -> dict[Key, dict[str, SeenTask]]:
    columns = (
        TaskInstance.dag_id,
        TaskInstance.run_id,
        TaskInstance.task_id,
        TaskInstance.state,
        TaskInstance.start_date,
        TaskInstance.end_date,
    )
    joined = and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id)
    tasks: dict[Key, dict[str, SeenTask]] = defaultdict(dict)
    for row in session.execute(select(*columns).join(DagRun, joined).where(which)):
        state = getattr(row.state, "value", row.state) or ""
        tasks[row.dag_id, row.run_id][row.task_id] = SeenTask(
            str(state), _unix(row.start_date), _unix(row.end_date)
        )
    return tasks


def _questions(session: Session, which: ColumnElement[bool]) -> dict[Key, SeenQuestion]:
    """What nobody has answered yet, by run."""
    columns = (
        TaskInstance.dag_id,
        TaskInstance.run_id,
        TaskInstance.task_id,
        HITLDetail.subject,
        HITLDetail.body,
        HITLDetail.options,
        HITLDetail.defaults,
        HITLDetail.created_at,
    )
    joined = and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id)
    open_ones = HITLDetail.responded_at.is_(None) & TaskInstance.state.in_(("awaiting_input", "deferred"))
    asked = (
        select(*columns)
        .join(TaskInstance, TaskInstance.id == HITLDetail.ti_id)
        .join(DagRun, joined)
        .where(which, open_ones, DagRun.state.in_(RUNNING))
    )
    return {
        (row.dag_id, row.run_id): SeenQuestion(
            row.task_id,
            row.subject,
            row.body or "",
            tuple(row.options),
            next(iter(row.defaults or ()), ""),
            _unix(row.created_at) or 0.0,
        )
        for row in session.execute(asked)
    }


def _frozen_at(session: Session, which: ColumnElement[bool]) -> dict[Key, float | None]:
    """When preflight froze each run that it did."""
    asked = (
        select(XComModel.dag_id, XComModel.run_id, XComModel.timestamp)
        .join(DagRun, DagRun.id == XComModel.dag_run_id)
        .where(which, _FROZEN)
    )
    return {(row.dag_id, row.run_id): _unix(row.timestamp) for row in session.execute(asked)}


def _seen(
    session: Session,
    which: ColumnElement[bool],
    rows: Iterable[Any],
    tasks: Mapping[Key, Mapping[str, SeenTask]],
    left: Mapping[Key, Mapping[tuple[str, str], Any]],
) -> list[SeenRun]:
    questions, frozen = _questions(session, which), _frozen_at(session, which)
    return [
        SeenRun(
            dag=row.dag_id,
            run=row.run_id,
            state=str(getattr(row.state, "value", row.state)),
            began=_unix(row.start_date),
            ended=_unix(row.end_date),
            by=row.triggering_user_name or "",
            dry=bool((row.conf or {}).get("dry_run")),
            frozen=frozen.get((row.dag_id, row.run_id)),
            tasks=tasks.get((row.dag_id, row.run_id), {}),
            xcoms=left.get((row.dag_id, row.run_id), {}),
            question=questions.get((row.dag_id, row.run_id)),
        )
        for row in rows
    ]


def _unix(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
