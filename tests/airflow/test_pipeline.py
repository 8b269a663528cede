"""The whole pipeline in Airflow's own runner, against a cluster in memory."""

from __future__ import annotations

import copy
import shutil
import time

import pytest
import yaml

from . import ROOT
from .fake_cluster import FakeCluster
from .fake_prometheus import FakePrometheus

pytestmark = pytest.mark.usefixtures("database")

BEFORE_END = [
    "preflight", "provision_nodes", "deploy_pool", "warm_up",
    "step_1.shift", "step_1.judge", "step_1.gate",
    "step_2.shift", "step_2.judge", "step_2.gate", "promote",
]  # fmt: skip


@pytest.fixture
def include(tmp_path, monkeypatch):
    """The project's include/, its plan cut down to two quick steps."""
    folder = tmp_path / "include"
    shutil.copytree(ROOT / "include", folder)
    path = folder / "rollouts" / "llm.yaml"
    plan = yaml.safe_load(path.read_text())
    plan |= {"steps": [{"weight": 50, "bake": "1s"}, {"weight": 100, "bake": "500ms"}], "settle": 0}
    plan["analysis"] |= {"look": "250ms", "lag": 0, "patience": "5s", "margin": None}
    path.write_text(yaml.safe_dump(plan))
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(folder))
    return path


@pytest.fixture
def cluster(monkeypatch):
    fake = FakeCluster()
    for module in ("operators.base", "operators.preflight", "hooks.looking", "triggers.ready"):
        monkeypatch.setattr(f"inference_rollouts.{module}.ClusterHook", lambda *_: fake)
    return fake


@pytest.fixture
def prometheus(monkeypatch, cluster):
    fake = FakePrometheus(cluster)
    for module in ("operators.preflight", "hooks.looking"):
        monkeypatch.setattr(f"inference_rollouts.{module}.PrometheusHook", lambda *_: fake)
    return fake


@pytest.fixture
def answers(monkeypatch):
    """Every pod answers well and at once."""
    from inference_rollouts.core.warmup import Answer

    body = {
        "model": "llama-3.1-8b",
        "choices": [{"text": "Hello.", "finish_reason": "stop"}],
        "usage": {"completion_tokens": 2},
    }
    monkeypatch.setattr("inference_rollouts.operators.warm_up.complete", lambda *_: Answer(200, body, 0.1))


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


def test_a_healthy_canary_is_promoted_and_the_route_let_go(rollout, cluster):
    run = rollout()
    assert run.state == "success"
    assert run.ran(*BEFORE_END, "report")
    assert run.states["rollback"] == "skipped"
    assert "llm-pool-version-2: promoted" in run.note
    assert cluster.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}
    assert "annotations" not in cluster.route["metadata"]
    assert cluster.events == ["CanaryAttached", "WeightShifted", "WeightShifted", "Promoted"]


def test_a_failing_canary_is_rolled_back_and_the_route_is_as_found(rollout, cluster, prometheus):
    prometheus.failing["llm-pool-version-2"] = 0.05
    before = copy.deepcopy(cluster.route)
    run = rollout()
    assert run.state == "failed"
    assert run.ran("step_1.judge", "step_1.gate", "rollback")
    assert run.states["step_2.shift"] == run.states["promote"] == "skipped"
    assert run.states["report"] == "failed"
    assert "llm-pool-version-2: rolled back" in run.note
    assert cluster.route["spec"] == before["spec"]
    assert "annotations" not in cluster.route["metadata"]
    assert cluster.events[-2:] == ["CanaryAlarm", "RolledBack"]


def test_a_run_with_fewer_weights_skips_the_other_steps(rollout, cluster):
    run = rollout(weights=[100], bake="300ms")
    assert run.state == "success"
    assert run.ran("step_1.gate", "promote")
    assert run.states["step_2.shift"] == "skipped"
    assert cluster.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}


@pytest.mark.parametrize("task", BEFORE_END)
def test_whatever_task_raises_the_route_ends_as_it_was_found(rollout, cluster, task):
    before = copy.deepcopy(cluster.route)
    run = rollout(raising=task)
    assert run.states[task] == "failed"
    assert run.state == "failed"
    assert cluster.route["spec"] == before["spec"]
    assert "annotations" not in cluster.route["metadata"]


def test_a_report_that_raises_changes_nothing_of_the_promotion(rollout, cluster):
    run = rollout(raising="report")
    assert run.state == "failed"
    assert cluster.weights() == {"llm-pool": 0, "llm-pool-version-2": 100}


def test_prometheus_that_dies_holds_and_never_passes(rollout, cluster, prometheus, monkeypatch):
    before = copy.deepcopy(cluster.route)
    shift = cluster.patch

    def dies_after_the_first_shift(*args):
        answer = shift(*args)
        prometheus.down = cluster.weights().get("llm-pool-version-2", 0) > 0
        return answer

    monkeypatch.setattr(cluster, "patch", dies_after_the_first_shift)
    run = rollout()
    assert run.ran("step_1.judge", "rollback")
    assert run.states["promote"] == "skipped"
    assert cluster.route["spec"] == before["spec"]


def test_going_back_waits_while_only_the_canary_serves(rollout, cluster, monkeypatch):
    """Once the canary is the only healthy pool, halting beats reverting."""
    shift = cluster.patch

    def stable_dies_after_the_first_shift(*args):
        answer = shift(*args)
        if cluster.weights()["llm-pool-version-2"] > 0:
            for number in range(3):
                cluster.objects.pop(("Pod", f"llm-pool-{number}"), None)
        return answer

    monkeypatch.setattr(cluster, "patch", stable_dies_after_the_first_shift)
    run = rollout()
    assert run.state == "failed"
    assert run.states["rollback"] == "failed"
    assert run.states["report"] == "failed"
    assert cluster.weights() == {"llm-pool": 50, "llm-pool-version-2": 50}
