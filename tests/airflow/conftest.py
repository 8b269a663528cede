"""The whole pipeline in Airflow's own runner, against a cluster in memory: what its tests share."""

from __future__ import annotations

import shutil
import time

import pytest
import yaml

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus

from . import ROOT


@pytest.fixture
def include(tmp_path, monkeypatch):
    """The project's include/, its plan cut down to two quick steps."""
    folder = tmp_path / "include"
    shutil.copytree(ROOT / "include", folder)
    path = folder / "rollouts" / "llm.yaml"
    plan = yaml.safe_load(path.read_text())
    plan |= {"steps": [{"weight": 50, "bake": "1s"}, {"weight": 100, "bake": "500ms"}], "initial_delay": 0}
    plan["analysis"] |= {"interval": "250ms", "scrape_delay": 0, "progress_deadline": "5s", "margin": None}
    plan["deadlines"] = {"route": "4s"}
    path.write_text(yaml.safe_dump(plan))
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(folder))
    return path


@pytest.fixture
def cluster(monkeypatch):
    fake = FakeCluster()
    for module in ("operators.base", "operators.preflight", "rollout.step_observer", "triggers.ready"):
        monkeypatch.setattr(f"inference_rollouts.{module}.ClusterHook", lambda *_: fake)
    return fake


@pytest.fixture
def prometheus(monkeypatch, cluster):
    fake = FakePrometheus(cluster)
    for module in ("operators.preflight", "rollout.step_observer", "rollout.checks"):
        monkeypatch.setattr(f"inference_rollouts.{module}.PrometheusHook", lambda *_: fake)
    return fake


@pytest.fixture(autouse=True)
def listing(monkeypatch):
    """Every pod answers for the model that clients ask for; tests may change the list."""
    from inference_rollouts.core.serving.adapters import Served

    served = [Served("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct")]
    monkeypatch.setattr("inference_rollouts.rollout.serving.models", lambda url: served)
    return served


@pytest.fixture
def answers(monkeypatch):
    """Every pod answers well and at once."""
    from inference_rollouts.core.serving.warm_up import Answer

    body = {
        "model": "llama-3.1-8b",
        "choices": [{"text": "Hello.", "finish_reason": "stop"}],
        "usage": {"completion_tokens": 2},
    }
    for module in ("operators.warm_up", "rollout.serving"):
        monkeypatch.setattr(f"inference_rollouts.{module}.complete", lambda *_: Answer(200, body, 0.1))


@pytest.fixture
def quick_runner(monkeypatch):
    """`dag.test()` sleeps a second each time it finds nothing to run; a moment is enough here."""
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.05)))


@pytest.fixture
def rollout(include, cluster, prometheus, answers, quick_runner):
    """Runs the DAG once; `raising` names a task whose execute raises."""
    from airflow.dag_processing.dagbag import DagBag

    def run(raising=None, **conf):
        bag = DagBag(str(ROOT / "dags"))
        assert not bag.import_errors
        dag = bag.dags["rollout_llm"]
        for task in dag.tasks:
            task.retries = 0
            if task.task_id == raising:
                task.execute = _boom
        return Run(dag.test(run_conf=conf))

    return run


def _boom(context):
    raise RuntimeError("boom")


class Run:
    def __init__(self, dag_run):
        self.state = dag_run.state
        self.note = note_of(dag_run.run_id)
        self.states = {ti.task_id: ti.state for ti in dag_run.get_task_instances()}

    def ran(self, *tasks):
        return all(self.states[task] == "success" for task in tasks)


def note_of(run_id):
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return session.scalar(select(DagRun).where(DagRun.run_id == run_id)).note
