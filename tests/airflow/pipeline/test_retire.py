"""What rollouts left behind is taken away in Airflow's own runner, against a cluster in memory."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inference_rollouts.clients.include import load_plan
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.operators.retire import ApproveRetirement, Leftovers
from inference_rollouts.retire_dag import build_retire_dag
from tests.support.airflow import run_dag, use
from tests.support.fake_cluster import GATEWAY_API
from tests.support.fake_gke import FakeGke, serving_gke
from tests.support.include import copy_of_include, edit
from tests.support.left_behind import LONGEST, NEW, OLD, LeftBehind, Stage
from tests.support.nodes import NODE_POOL
from tests.support.routes import ref, route

Heard = list[SimpleNamespace]
States = dict[str, str]


class Retire:
    """A stage, its plan, and the DAG that retires on it."""

    def __init__(self, include: Path, monkeypatch: pytest.MonkeyPatch, gke: FakeGke | None = None) -> None:
        self.include, self.monkeypatch = include, monkeypatch
        self.stage = Stage(gke)
        use(self.stage.clients, monkeypatch)

    @property
    def cluster(self) -> LeftBehind:
        return self.stage.cluster

    def __call__(self, pool: str | None = OLD, action: str = "remove", heard: Heard | None = None) -> States:
        """Runs the DAG once; returns the states of its tasks, and of the run."""
        dag = build_retire_dag(load_plan(self.include))
        if heard is not None:
            task: Any = dag.task_dict["leftovers"]
            events = {"triggering_asset_events": {"asset": heard}}
            self.monkeypatch.setattr(
                task, "execute", lambda context: Leftovers.execute(task, context | events)
            )
        run = run_dag(dag, {} if heard is not None else {"pool": pool, "action": action})
        return {"run": run.state, **{task.rpartition(".")[2]: state for task, state in run.states.items()}}


@pytest.fixture
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = copy_of_include(tmp_path, monkeypatch) / "rollouts" / "llm.yaml"
    for other in path.parent.glob("*.yaml"):
        if other != path:
            other.unlink()
    edit(
        path,
        retention={"keep": 0, "longest_stream": LONGEST},
        analysis={"interval": "50ms", "scrape_delay": 0},
    )
    return path


@pytest.fixture
def retire(include: Path, quick_runner: None, database: None, monkeypatch: pytest.MonkeyPatch) -> Retire:
    monkeypatch.setattr("inference_rollouts.operators.retire.RETIREMENT_POLL", 0.1)
    return Retire(include, monkeypatch)


@pytest.fixture
def cluster(retire: Retire) -> LeftBehind:
    return retire.cluster


def announced(**extra: Any) -> SimpleNamespace:
    """An event of a promotion or a rollback."""
    return SimpleNamespace(extra={"action": "remove", "since": time.time(), **extra})


@pytest.mark.parametrize("asked", [True, False])
def test_what_may_not_go_is_refused_to_people_and_skipped_otherwise(
    retire: Retire, cluster: LeftBehind, asked: bool
) -> None:
    """No rollout created llm-pool."""
    states = retire(pool="llm-pool", heard=None if asked else [announced(name="llm-pool")])
    assert states["check"] == ("failed" if asked else "skipped")
    assert states["run"] == ("failed" if asked else "success")
    assert states["retire"] == ("upstream_failed" if asked else "skipped")
    assert cluster.writes == []


def test_a_pool_goes_in_the_order_that_loses_nothing(retire: Retire, cluster: LeftBehind) -> None:
    states = retire()
    assert states == {
        "run": "success",
        "leftovers": "success",
        "check": "success",
        "wait_idle": "success",
        "retire": "success",
    }
    assert cluster.weights() == {NEW: 100}
    assert cluster.left() == []
    assert cluster.writes == [
        ("HTTPRoute", "routes-to-llm"),
        ("InferenceObjective", f"{OLD}-standard"),
        ("InferencePool", OLD),
        ("Deployment", OLD),
        ("Deployment", f"{OLD}-epp"),
        ("Deployment", OLD),
        ("Deployment", f"{OLD}-epp"),
        ("Service", f"{OLD}-epp"),
    ]
    assert cluster.events[0] == "PoolDetached"
    assert {"ScaledDown", "Retired"} <= set(cluster.events)
    assert ("Deployment", NEW) in cluster.objects
    assert ("InferenceObjective", "llm-pool-standard") in cluster.objects


def test_scaling_down_ends_the_pods_and_keeps_the_objects(retire: Retire, cluster: LeftBehind) -> None:
    before = cluster.left()
    assert retire(action="scale-down")["run"] == "success"
    assert cluster.left() == [kind for kind in before if kind != "Pod"]
    assert cluster.weights() == {OLD: 0, NEW: 100}
    assert set(cluster.events) == {"ScaledDown"}


def test_several_promotions_are_retired_in_one_run_each_once(retire: Retire, cluster: LeftBehind) -> None:
    states = retire(heard=[announced(name=name) for name in (OLD, "llm-pool", OLD)])
    assert states["run"] == "success"
    assert cluster.left() == []
    assert ("Deployment", "llm-pool") in cluster.objects


def test_an_event_that_the_plan_wants_nothing_to_follow_is_left_alone(
    retire: Retire, cluster: LeftBehind, include: Path
) -> None:
    edit(include, retention={"keep": None})
    states = retire(heard=[announced(name=OLD)])
    assert cluster.writes == []
    assert states["run"] == "success"


def test_without_a_name_nothing_is_touched(retire: Retire, cluster: LeftBehind) -> None:
    assert retire(pool=None)["leftovers"] == "failed"
    assert cluster.writes == []


def test_weight_that_comes_back_between_two_steps_stops_everything(
    retire: Retire, cluster: LeftBehind
) -> None:
    def give_weight(verb: str, kind: str, name: str) -> None:
        if (verb, kind) == ("delete", "InferenceObjective"):
            cluster.before = lambda *_: None
            cluster.put(GATEWAY_API, "HTTPRoute", route([ref(OLD, 50), ref(NEW, 50)]))

    cluster.before = give_weight
    states = retire()
    assert states["retire"] == "failed"
    assert "InferencePool" in cluster.left()
    assert "Pod" in cluster.left()
    assert cluster.weights() == {OLD: 50, NEW: 50}


def test_pods_that_still_end_are_waited_for_before_their_deployment_goes(
    retire: Retire, cluster: LeftBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    lingering = {
        "metadata": {"name": f"{OLD}-9", "labels": {"inference-pool": OLD}},
        "spec": {"containers": []},
    }
    ended = []

    def before(verb: str, kind: str, name: str) -> None:
        if (verb, kind, name) == ("patch", "Deployment", OLD):
            cluster.put("v1", "Pod", lingering)
        if (verb, kind) == ("delete", "Deployment"):
            ended.append(("Pod", f"{OLD}-9") not in cluster.objects)

    cluster.before = before
    select, observations = cluster.select, list[str]()

    def pods(api: str, kind: str, labels: Any = None) -> list[K8sObject]:
        if kind == "Pod" and ("Pod", f"{OLD}-9") in cluster.objects:
            observations.append(kind)
            if len(observations) == 4:
                del cluster.objects["Pod", f"{OLD}-9"]
        return select(api, kind, labels)

    monkeypatch.setattr(cluster, "select", pods)
    assert retire()["run"] == "success"
    assert ended == [True, True]


@pytest.mark.parametrize(("option", "left"), [("Retire", False), ("Keep", True)])
def test_a_person_decides_where_the_plan_wants_it(
    retire: Retire,
    cluster: LeftBehind,
    include: Path,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    left: bool,
) -> None:
    edit(include, approvals={"retire": True})
    asked: dict[str, Any] = {}

    def execute(task: ApproveRetirement, context: Any) -> Any:
        from airflow.providers.standard.operators.hitl import HITLOperator

        with monkeypatch.context() as patched:
            patched.setattr(HITLOperator, "execute", lambda self, _: asked.update(vars(self)))
            original(task, context)
        answer = {"params_input": {}, "responded_at": datetime.now(UTC), "responded_by_user": None}
        return task.execute_complete(context, {"chosen_options": [option], **answer})

    original = ApproveRetirement.execute
    monkeypatch.setattr(ApproveRetirement, "execute", execute)
    states = retire()
    assert states["run"] == "success"
    assert states["retire"] == ("skipped" if left else "success")
    assert bool(cluster.left()) == left
    assert OLD in asked["subject"]
    assert f"InferencePool {OLD}" in asked["body"]
    assert asked["defaults"] == ["Keep"]


def test_what_is_kept_for_a_time_is_kept_that_long(
    retire: Retire, cluster: LeftBehind, include: Path
) -> None:
    edit(include, retention={"keep": "1500ms"})
    times: list[float] = []
    cluster.before = lambda *_: times.append(time.time())
    since = time.time()
    states = retire(heard=[announced(name=OLD, since=since)])
    assert states["run"] == "success"
    assert times[0] - since >= 1.5


def test_a_pool_whose_pods_are_gone_needs_no_data(retire: Retire, cluster: LeftBehind) -> None:
    retire.stage.activity.inside = lambda observation: None
    for name in (OLD, f"{OLD}-epp"):
        cluster.objects["Deployment", name]["spec"]["replicas"] = 0
        cluster.put("apps/v1", "Deployment", cluster.objects["Deployment", name])
    assert retire()["run"] == "success"
    assert cluster.left() == []


def test_who_never_becomes_quiet_stays(
    retire: Retire, cluster: LeftBehind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_rollouts.operators.retire.RETIREMENT_WAIT", timedelta(seconds=1))
    retire.stage.activity.inside = lambda observation: None
    assert retire()["wait_idle"] == "failed"
    assert cluster.writes == []


@pytest.mark.parametrize("action", ["remove", "scale-down"])
def test_the_nodes_that_a_rollout_created_are_given_back_last(
    include: Path, quick_runner: None, database: None, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr("inference_rollouts.operators.retire.RETIREMENT_POLL", 0.1)
    edit(include, nodes=None)
    edit(include, nodes=NODE_POOL)
    with serving_gke(FakeGke()) as gke:
        retire = Retire(include, monkeypatch, gke)
        left: list[bool] = []
        gke.heard = lambda method: left.append("Pod" in retire.cluster.left()) if method == "DELETE" else None
        gke.pools[OLD] = {"name": OLD, "status": "RUNNING", "config": {"labels": owner_labels("llm")}}
        assert retire(action=action)["run"] == "success"
        assert left == [False], "asked for once, when the pods were gone"
        assert gke.pools == {}, "and waited for"
