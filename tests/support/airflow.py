"""Runs of DAGs in Airflow's own runner, against clients in memory."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.asset import AssetEvent
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG
from airflow.triggers.base import BaseTrigger
from airflow.utils.session import create_session
from sqlalchemy import select

from inference_rollouts.clients import Clients
from inference_rollouts.operators.ready import WaitingOperator

POLL = 0.05  # seconds
Execute = Callable[[Any], Any]


def use(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Every connection of a plan leads to these from now on: the one door to the outside."""
    monkeypatch.setattr("inference_rollouts.hooks.clients.Clients", lambda **_: clients)
    return clients


class Run:
    """How a run ended: its state, its note, the states of its tasks by id, and what it announced.

    Of each event of an asset the name of the asset, and of the pool or adapter that was left.
    """

    def __init__(self, dag_run: Any) -> None:
        self.state = str(dag_run.state)
        self.note = note_of(dag_run.run_id)
        self.states = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}
        self.announced = _announced(dag_run.run_id)

    def ran(self, *tasks: str) -> bool:
        return all(self.states[task] == "success" for task in tasks)


def _announced(run_id: str) -> list[tuple[str, str]]:
    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run_id)).all()
        left = [event for event in events if "name" in event.extra]
        return [(event.name.rpartition("/")[2], str(event.extra["name"])) for event in left]


Rollout = Callable[..., Run]
"""Runs the DAG of a plan once, as `run_dag` does; other arguments are the run's parameters."""


def note_of(run_id: str) -> str:
    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == run_id)).one()
        return run.note or ""


def run_dag(
    dag: DAG,
    conf: Mapping[str, Any] | None = None,
    *,
    raising: str | None = None,
    before: Mapping[str, Callable[[], object]] | None = None,
) -> Run:
    """One run of a DAG, impatient: no retries, quick polls.

    The worker of task `raising` dies; `before` tasks of these names something happens.
    """
    for task in dag.tasks:
        task.retries = 0
        if isinstance(task, WaitingOperator):
            task.poll = POLL
        if task.task_id == raising:
            _replace(task, lambda execute: _die)
        if before and task.task_id in before:
            _replace(task, _after(before[task.task_id]))
    return Run(dag.test(run_conf=dict(conf or {})))


def _die(context: Any) -> None:
    raise RuntimeError("boom")


def _after(act: Callable[[], object]) -> Callable[[Execute], Execute]:
    def acting(execute: Execute) -> Execute:
        def executing(context: Any) -> Any:
            act()
            return execute(context)

        return executing

    return acting


def _replace(task: Any, change: Callable[[Execute], Execute]) -> None:
    task.execute = change(task.execute)


class Told:
    """The XComs of a run: of each task by key, and what the task that runs now pushes; the tasks' states."""

    def __init__(self, **tasks: Mapping[str, Any]) -> None:
        self.tasks = tasks
        self.pushed: dict[str, Any] = {}
        self.states: dict[str, str] = {}

    def get_task_states(self, *, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        return {run_id: self.states for run_id in run_ids}

    def xcom_pull(self, *, task_ids: str, key: str = "return_value") -> Any:
        return self.tasks.get(task_ids, {}).get(key)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def context_of(told: Told, dag: DAG, **more: Any) -> Any:
    """What a task of run `r1` sees."""
    return {"ti": told, "dag": dag, "dag_run": SimpleNamespace(dag_id=dag.dag_id, run_id="r1"), **more}


def again(trigger: BaseTrigger) -> Any:
    """The trigger as another triggerer would build it."""
    path, kwargs = trigger.serialize()
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)(**kwargs)


def event_of(trigger: BaseTrigger) -> Any:
    """The payload of the one event of a trigger that was moved to another triggerer."""

    async def collect() -> list[Any]:
        return [event.payload async for event in again(trigger).run()]

    [event] = asyncio.run(asyncio.wait_for(collect(), 60))
    return event
