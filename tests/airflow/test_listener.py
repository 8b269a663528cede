"""A rollout's report becomes its run's note, in the transaction of whoever ends the run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from sqlalchemy.orm import Session

from inference_rollouts import listener
from inference_rollouts.core.reporting.note import MARK, RULE

pytestmark = pytest.mark.usefixtures("database")
REPORT = "## llm-pool -> llm-pool-version-2: promoted"


@pytest.fixture(autouse=True)
def report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_report", lambda *_: REPORT)


@pytest.fixture
def session() -> Iterator[Session]:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        yield session


@pytest.fixture
def run(session: Session) -> DagRun:
    """A run that has just ended, as the scheduler holds it."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    run = DagRun(
        dag_id="rollout_llm",
        run_id=f"manual__{uuid.uuid4()}",
        run_type=DagRunType.MANUAL,
        state=DagRunState.SUCCESS,
        triggered_by=DagRunTriggeredByType.TEST,
    )
    tag(run, "inference-rollout")
    session.add(run)
    session.flush()
    return run


def tag(run: Any, name: str) -> None:
    """The run is one of a DAG with this tag."""
    run.dag = SimpleNamespace(tags={name})


def end(session: Session, run: DagRun) -> str | None:
    """End the run under the guard with which the scheduler forbids commits."""
    from airflow.utils.sqlalchemy import prohibit_commit

    guarded: Any = prohibit_commit
    with guarded(session) as guard:
        run.notify_dagrun_state_changed("ended")
        guard.commit()
    session.expire_all()
    note: str | None = run.note
    return note


def test_the_plugin_registers_the_listener() -> None:
    from airflow.listeners.listener import get_listener_manager

    assert listener in get_listener_manager().pm.get_plugins()


def test_the_report_is_the_note_and_a_cleared_run_replaces_it(
    session: Session, run: DagRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert end(session, run) == f"{MARK}{REPORT}"
    monkeypatch.setattr(listener, "_report", lambda *_: "## rolled back")
    assert end(session, run) == f"{MARK}## rolled back"


def test_what_a_person_wrote_stays_first(session: Session, run: DagRun) -> None:
    run.note = ("Please watch the queue.", "anna")
    assert end(session, run) == f"Please watch the queue.{RULE}{MARK}{REPORT}"


def test_what_a_person_made_of_the_report_is_theirs(session: Session, run: DagRun) -> None:
    end(session, run)
    run.dag_run_note.content, run.dag_run_note.user_id = f"{MARK}seen", "anna"
    assert end(session, run) == f"{MARK}seen{RULE}{MARK}{REPORT}"


def begin(session: Session, run: DagRun) -> str | None:
    from airflow.utils.state import DagRunState

    run.state, ended = DagRunState.RUNNING, run.state
    note = end(session, run)
    run.state = ended
    return note


def test_a_run_that_begins_says_what_it_does_and_its_report_takes_the_place(
    session: Session, run: DagRun
) -> None:
    run.dag = SimpleNamespace(
        tags={"inference-rollout"}, params={"stable": "old", "canary": "new", "weights": [20, 100]}
    )  # type: ignore[assignment]
    run.conf, run.triggering_user_name = {"weights": [50, 100]}, "anna"
    note = begin(session, run) or ""
    assert note.startswith(f"{MARK}**old -> new: started by anna**\n")
    assert "DAG `rollout_llm`, weights 50 %, 100 %." in note
    assert f"/dags/rollout_llm/runs/{run.run_id})." in note
    assert end(session, run) == f"{MARK}{REPORT}"


def test_a_dag_that_moves_nothing_announces_nothing(session: Session, run: DagRun) -> None:
    run.dag = SimpleNamespace(tags={"inference-rollout"}, params={"pool": "old"})  # type: ignore[assignment]
    assert begin(session, run) is None


def test_other_dags_are_left_alone(session: Session, run: DagRun) -> None:
    tag(run, "etl")
    assert end(session, run) is None


def test_a_run_without_a_report_gets_no_note(
    session: Session, run: DagRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_report", lambda *_: None)
    assert end(session, run) is None


def test_a_write_that_fails_breaks_nobodys_transaction(
    session: Session, run: DagRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a person's note comes between our read and our write."""
    from sqlalchemy import text

    def late(*_: Any, **__: Any) -> str:
        session.connection().execute(
            text("insert into dag_run_note (dag_run_id, content, user_id, created_at, updated_at)"
                 " values (:run, 'late', 'anna', '2026-01-01', '2026-01-01')"),
            {"run": run.id},
        )  # fmt: skip
        return "ours"

    monkeypatch.setattr(listener, "note_with", late)
    run.conf = {"written": "by the scheduler"}
    end(session, run)
    assert run.conf == {"written": "by the scheduler"}
