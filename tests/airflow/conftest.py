"""The whole pipeline in Airflow's own runner, against a cluster in memory: what its tests share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from inference_rollouts.clients import Clients
from tests.support.clients import fake_clients
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.fake_servers import FakeServers
from tests.support.include import copy_of_include, edit

Rollout = Callable[..., Any]


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plan llm alone in a copy of include/, cut down to two quick steps.

    An interval leaves time to judge it on a busy machine, so that observations never fall behind.
    """
    path = copy_of_include(tmp_path, monkeypatch) / "rollouts" / "llm.yaml"
    for other in path.parent.glob("*.yaml"):
        if other != path:
            other.unlink()
    quick = {
        "interval": "250ms",
        "scrape_delay": 0,
        "progress_deadline": "2s",
        "on_timeout": "rollback",
        "margin": None,
    }
    edit(
        path,
        steps=[{"weight": 50, "bake": "500ms"}, {"weight": 100, "bake": "250ms"}],
        without_comparison=True,
        initial_delay=0,
        analysis=quick,
        deadlines={"route": "4s"},
    )
    return path


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def prometheus(cluster: FakeCluster) -> FakePrometheus:
    return FakePrometheus(cluster)


@pytest.fixture
def servers() -> FakeServers:
    return FakeServers()


@pytest.fixture
def clients(
    monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster, prometheus: FakePrometheus, servers: FakeServers
) -> Clients:
    from tests.support.airflow import use

    return use(fake_clients(cluster, prometheus=prometheus, servers=servers), monkeypatch)


@pytest.fixture
def rollout(
    include: Path, clients: Clients, quick_runner: None, database: None, monkeypatch: pytest.MonkeyPatch
) -> Rollout:
    """Runs the DAG once, as `run_dag` does; other arguments are the run's parameters."""
    from inference_rollouts.clients.include import load_plan
    from inference_rollouts.dag import build_dag
    from tests.support.airflow import POLL, Run, run_dag

    monkeypatch.setattr("inference_rollouts.operators.traffic.READINESS_POLL", POLL)

    def run(
        raising: str | None = None, before: Mapping[str, Callable[[], object]] | None = None, **conf: Any
    ) -> Run:
        return run_dag(build_dag(load_plan(include)), conf, raising=raising, before=before)

    return run


@pytest.fixture
def quick_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dag.test()` sleeps a second each time it finds nothing to run; a moment is enough here.

    Nor need each run validate its DAG by a JSON schema, or each task the schemas of the DAG's parameters,
    which takes longer than all tasks: `test_dag` does.
    """
    from airflow.serialization.serialized_objects import DagSerialization

    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.05)))
    monkeypatch.setattr(DagSerialization, "validate_schema", lambda *_: None)
    monkeypatch.setattr("jsonschema.Draft202012Validator.check_schema", lambda *_, **__: None)
