"""What rollouts left behind is taken away in Airflow's own runner, against a cluster in memory."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
import yaml

from inference_rollouts.core.errors import ClusterRefused, PrometheusUnavailable, RetirementRefused
from inference_rollouts.core.judging.metrics import SERIES
from inference_rollouts.core.objects.ownership import OWNER, OWNER_LABEL, PLAN_LABEL, POOL_LABEL
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.dag import build_dag
from inference_rollouts.operators.retire import ApproveRetirement, CheckRetirement
from inference_rollouts.retire_dag import build_retire_dag
from inference_rollouts.rollout.retirement import subject_of
from inference_rollouts.triggers.idle import IdleTrigger, look
from tests.support.fake_cluster import GATEWAY_API, OBJECTIVE_API, FakeCluster
from tests.support.routes import ref, rewrite, route

from . import ROOT
from .test_triggers import again

OLD, NEW = "llm-pool-version-2", "llm-pool-version-3"
LONGEST = 0.3  # seconds
pytestmark = pytest.mark.usefixtures("database")


class Cluster(FakeCluster):
    """After a promotion from OLD, which a rollout created, to NEW."""

    def __init__(self):
        super().__init__([ref(OLD, 0), ref(NEW, 100)])
        self.before = lambda verb, kind, name: None  # called before every write
        self.put_pool(NEW)
        self.put_pool(OLD)
        self.put("apps/v1", "Deployment", self._deployment(f"{OLD}-epp", 1))
        self.put("v1", "Service", {"metadata": {"name": f"{OLD}-epp"}, "spec": {}})
        objective = {"metadata": {"name": f"{OLD}-standard"}, "spec": {"poolRef": {"name": OLD}}}
        self.put(OBJECTIVE_API, "InferenceObjective", objective)
        for name in (OLD, f"{OLD}-epp", f"{OLD}-standard"):
            self.own(name)

    def own(self, name):
        for (kind, other), thing in self.objects.items():
            if other == name and kind != "Pod":
                mine = {OWNER_LABEL: OWNER, PLAN_LABEL: "llm", POOL_LABEL: OLD}
                thing["metadata"]["labels"] = thing["metadata"].get("labels", {}) | mine

    def put(self, api_version, kind, thing):
        super().put(api_version, kind, thing)
        if kind == "Deployment":
            name, count = thing["metadata"]["name"], thing["spec"]["replicas"]
            for key in [k for k in self.objects if k[0] == "Pod" and k[1].rpartition("-")[0] == name]:
                if int(key[1].rpartition("-")[2]) >= count:
                    del self.objects[key]

    def patch(self, api_version, kind, name, patch):
        self.before("patch", kind, name)
        return super().patch(api_version, kind, name, patch)

    def delete(self, thing):
        self.before("delete", thing["kind"], thing["metadata"]["name"])
        super().delete(thing)

    def left(self):
        """The kinds of what is still there of OLD."""
        return sorted({kind for kind, name in self.objects if name.startswith(OLD)})


class Activity:
    """What the pods of a pool say: how many requests each has inside, how many it has answered."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.looks = 0
        self.inside = lambda look: 0.0
        self.answered = lambda look: 7.0

    def query(self, promql, at):
        self.looks += 1
        if (inside := self.inside(self.looks)) is None:
            raise PrometheusUnavailable("Prometheus does not answer")
        pods = [name for kind, name in self.cluster.objects if kind == "Pod"]
        said = {"alive": 1.0, "inside/0": inside, "inside/1": 0.0, "answered/0": self.answered(self.looks)}
        return [
            {"metric": {SERIES: part, "pod": pod}, "value": [at, str(value)]}
            for pod in pods
            for part, value in said.items()
        ]


@pytest.fixture
def include(tmp_path, monkeypatch):
    folder = tmp_path / "include"
    shutil.copytree(ROOT / "include", folder)
    path = folder / "rollouts" / "llm.yaml"
    plan = yaml.safe_load(path.read_text())
    plan["retention"] = {"keep": 0, "longest_stream": LONGEST}
    plan["analysis"] |= {"interval": "50ms", "scrape_delay": 0}
    for other in path.parent.glob("*.yaml"):
        other.unlink()
    path.write_text(yaml.safe_dump(plan))
    monkeypatch.setenv("INFERENCE_ROLLOUTS_INCLUDE", str(folder))
    return path


@pytest.fixture
def cluster(monkeypatch, include):
    fake = Cluster()
    fake.activity = Activity(fake)
    monkeypatch.setattr("inference_rollouts.rollout.retirement.ClusterHook", lambda *_: fake)
    monkeypatch.setattr("inference_rollouts.rollout.retirement.PrometheusHook", lambda *_: fake.activity)
    monkeypatch.setattr("inference_rollouts.operators.retire.POLL", 0.1)
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.05)))
    return fake


def frozen():
    """The retirement of OLD as task check freezes it."""
    plan = parse_plan(yaml.safe_load((ROOT / "include/rollouts/llm.yaml").read_text()))
    wanted = Retirement(plan, OLD, Action.REMOVE)
    return replace(wanted, objects=subject_of(wanted).find())


@pytest.fixture
def retire(cluster):
    """Runs the DAG once; returns the states of its tasks, and what was raised."""
    from airflow.dag_processing.dagbag import DagBag

    def run(pool=OLD, action="remove", heard=None):
        bag = DagBag(str(ROOT / "dags"))
        assert not bag.import_errors
        dag = bag.dags["retire_llm"]
        for task in dag.tasks:
            task.retries = 0
        if heard is not None:
            task = dag.task_dict["leftovers"]
            task.execute = lambda context: type(task).execute(
                task, context | {"triggering_asset_events": {"asset": heard}}
            )
        done = dag.test(run_conf={} if heard is not None else {"pool": pool, "action": action})
        states = {ti.task_id.rpartition(".")[2]: ti.state for ti in done.get_task_instances()}
        return {"run": done.state, **states}

    return run


def test_a_pool_goes_in_the_order_that_loses_nothing(retire, cluster):
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


def test_scaling_down_ends_the_pods_and_keeps_the_objects(retire, cluster):
    before = cluster.left()
    assert retire(action="scale-down")["run"] == "success"
    assert cluster.left() == [kind for kind in before if kind != "Pod"]
    assert cluster.weights() == {OLD: 0, NEW: 100}
    assert set(cluster.events) == {"ScaledDown"}


@pytest.mark.parametrize(
    ("pool", "prepare"),
    [
        ("llm-pool", lambda cluster: None),  # no rollout created it
        ("nothing", lambda cluster: None),
        (OLD, lambda cluster: cluster.put(GATEWAY_API, "HTTPRoute", route([ref(OLD, 1), ref(NEW, 99)]))),
        (
            OLD,
            lambda cluster: cluster.put(
                GATEWAY_API,
                "HTTPRoute",
                route([ref(OLD, 0), ref(NEW, 100)], annotations={"inference-rollouts.dev/claimed-by": "r"}),
            ),
        ),
        (OLD, lambda cluster: cluster.put(GATEWAY_API, "HTTPRoute", route([ref(NEW)], [ref(OLD, 0)]))),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_what_may_not_go_is_refused_to_people_and_skipped_otherwise(retire, cluster, pool, prepare, asked):
    prepare(cluster)
    said = SimpleNamespace(extra={"name": pool, "action": "remove", "since": time.time(), "run": "r"})
    states = retire(pool=pool, heard=None if asked else [said])
    assert states["check"] == ("failed" if asked else "skipped")
    assert states["run"] == ("failed" if asked else "success")
    assert states["retire"] == ("upstream_failed" if asked else "skipped")
    assert cluster.writes == []


def test_several_promotions_are_retired_in_one_run_each_once(retire, cluster):
    said = [{"name": name, "action": "remove", "since": time.time()} for name in (OLD, "llm-pool", OLD)]
    states = retire(heard=[SimpleNamespace(extra=extra) for extra in said])
    assert states["run"] == "success"
    assert cluster.left() == []
    assert ("Deployment", "llm-pool") in cluster.objects


def test_an_event_that_the_plan_wants_nothing_to_follow_is_left_alone(retire, cluster, include):
    plan = yaml.safe_load(include.read_text())
    include.write_text(yaml.safe_dump(plan | {"retention": {"keep": None}}))
    states = retire(heard=[SimpleNamespace(extra={"name": OLD, "action": "remove", "since": time.time()})])
    assert cluster.writes == []
    assert states["run"] == "success"


def test_without_a_name_nothing_is_touched(retire, cluster):
    assert retire(pool=None)["leftovers"] == "failed"
    assert cluster.writes == []


@pytest.mark.parametrize("noise", ["inside", "answered", "prometheus", "weight"])
def test_every_sign_of_a_request_starts_the_wait_anew(retire, cluster, noise):
    """At the second look, so that silence has begun before and cannot have lasted long enough."""
    disturbed, written = [], []
    cluster.before = lambda *_: written.append(time.time())
    activity, query, routes = cluster.activity, cluster.activity.query, cluster.select_everywhere

    def disturbing(promql, at):
        if activity.looks == 1:
            disturbed.append(time.time())
        return query(promql, at)

    def with_weight(api, kind):
        if kind == "HTTPRoute" and activity.looks == 1 and not disturbed:
            disturbed.append(time.time())
            return [route([ref(OLD, 1), ref(NEW, 99)])]
        return routes(api, kind)

    if noise == "weight":
        cluster.select_everywhere = with_weight
    else:
        activity.query = disturbing
    if noise == "inside":
        activity.inside = lambda look: float(look == 2)
    if noise == "prometheus":
        activity.inside = lambda look: None if look == 2 else 0.0
    if noise == "answered":
        activity.answered = lambda look: 7.0 + (look >= 2)
    assert retire()["run"] == "success"
    assert written[0] - disturbed[0] >= LONGEST
    assert cluster.left() == []


def test_weight_that_comes_back_between_two_steps_stops_everything(retire, cluster):
    def give_weight(verb, kind, name):
        if (verb, kind) == ("delete", "InferenceObjective"):
            cluster.before = lambda *_: None
            cluster.put(GATEWAY_API, "HTTPRoute", route([ref(OLD, 50), ref(NEW, 50)]))

    cluster.before = give_weight
    states = retire()
    assert states["retire"] == "failed"
    assert "InferencePool" in cluster.left()
    assert "Pod" in cluster.left()
    assert cluster.weights() == {OLD: 50, NEW: 50}


@pytest.mark.parametrize("at", range(8))
def test_a_task_killed_before_any_write_ends_the_same_when_it_is_repeated(retire, cluster, at):
    retirement = frozen()
    writes = []

    def killed(*write):
        writes.append(write)
        if len(writes) == at + 1:
            raise KeyboardInterrupt

    cluster.before = killed
    with pytest.raises(KeyboardInterrupt):
        subject_of(retirement).reconcile()
    assert subject_of(Retirement.from_json(retirement.to_json())).reconcile().phase == "ready"
    assert cluster.left() == []
    assert cluster.weights() == {NEW: 100}


def test_pods_that_still_end_are_waited_for_before_their_deployment_goes(retire, cluster):
    lingering = {
        "metadata": {"name": f"{OLD}-9", "labels": {"inference-pool": OLD}},
        "spec": {"containers": []},
    }
    ended = []

    def before(verb, kind, name):
        if (verb, kind, name) == ("patch", "Deployment", OLD):
            cluster.put("v1", "Pod", lingering)
        if (verb, kind) == ("delete", "Deployment"):
            ended.append(("Pod", f"{OLD}-9") not in cluster.objects)

    cluster.before = before
    select, looks = cluster.select, []

    def pods(api, kind, labels=None):
        if kind == "Pod" and ("Pod", f"{OLD}-9") in cluster.objects:
            looks.append(kind)
            if len(looks) == 4:
                del cluster.objects["Pod", f"{OLD}-9"]
        return select(api, kind, labels)

    cluster.select = pods
    assert retire()["run"] == "success"
    assert ended == [True, True]


def test_another_object_of_the_same_name_stays(cluster):
    retirement = frozen()
    del cluster.objects["InferencePool", OLD]
    del cluster.objects["Deployment", OLD]
    cluster.put_pool(OLD)
    subject_of(retirement).reconcile()
    assert {("InferencePool", OLD), ("Deployment", OLD), ("Pod", f"{OLD}-0")} <= cluster.objects.keys()


@pytest.mark.parametrize(("option", "left"), [("Retire", False), ("Keep", True)])
def test_a_person_decides_where_the_plan_wants_it(retire, cluster, include, monkeypatch, option, left):
    plan = yaml.safe_load(include.read_text())
    include.write_text(yaml.safe_dump(plan | {"approvals": {"retire": True}}))
    asked = {}

    def execute(task, context):
        from airflow.providers.standard.operators.hitl import HITLOperator

        with monkeypatch.context() as patched:
            patched.setattr(HITLOperator, "execute", lambda self, _: asked.update(vars(self)))
            original(task, context)
        said = {"params_input": {}, "responded_at": datetime.now(UTC), "responded_by_user": None}
        return task.execute_complete(context, {"chosen_options": [option], **said})

    original = ApproveRetirement.execute
    monkeypatch.setattr(ApproveRetirement, "execute", execute)
    states = retire()
    assert states["run"] == "success"
    assert states["retire"] == ("skipped" if left else "success")
    assert bool(cluster.left()) == left
    assert OLD in asked["subject"]
    assert f"InferencePool {OLD}" in asked["body"]
    assert asked["defaults"] == ["Keep"]


def test_while_a_rollout_is_under_way_nothing_is_taken_away(retire, cluster, monkeypatch):
    """The first looks are those of task check, which waits; the last is that of task retire."""
    running = iter([1, 1, 0, 1])
    monkeypatch.setattr("inference_rollouts.operators.retire.rollouts_under_way", lambda *_: next(running))
    states = retire()
    assert (states["check"], states["retire"]) == ("success", "failed")
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("later", "state"),
    [([], "success"), ([{"name": OLD, "since": 9e9}], "skipped"), ([{"name": NEW, "since": 9e9}], "success")],
)
def test_what_a_later_rollout_left_again_is_its_own_retirement(retire, cluster, monkeypatch, later, state):
    monkeypatch.setattr(CheckRetirement, "_events_of", lambda *_: [x for x in later if x["name"] == OLD])
    said = SimpleNamespace(extra={"name": OLD, "action": "remove", "since": time.time()})
    assert retire(heard=[said])["check"] == state


def test_what_is_kept_for_a_time_is_kept_that_long(retire, cluster, include):
    plan = yaml.safe_load(include.read_text())
    plan["retention"] |= {"keep": "1500ms"}
    include.write_text(yaml.safe_dump(plan))
    times = []
    cluster.before = lambda *_: times.append(time.time())
    since = time.time()
    states = retire(heard=[SimpleNamespace(extra={"name": OLD, "action": "remove", "since": since})])
    assert states["run"] == "success"
    assert times[0] - since >= 1.5


def test_a_pool_whose_pods_are_gone_needs_no_data(retire, cluster):
    cluster.activity.inside = lambda look: None
    for name in (OLD, f"{OLD}-epp"):
        cluster.objects["Deployment", name]["spec"]["replicas"] = 0
        cluster.put("apps/v1", "Deployment", cluster.objects["Deployment", name])
    assert retire()["run"] == "success"
    assert cluster.left() == []


def test_who_never_becomes_quiet_stays(retire, cluster, monkeypatch):
    monkeypatch.setattr("inference_rollouts.operators.retire.LONGEST_WAIT", timedelta(seconds=1))
    cluster.activity.inside = lambda look: None
    assert retire()["wait_idle"] == "failed"
    assert cluster.writes == []


def test_a_cluster_that_does_not_answer_is_no_sign_of_quiet(cluster):
    class Broken:
        def look(self, now, seconds):
            raise ConnectionError("refused")

    assert "refused" in look(Broken(), 1.0, 5).busy


def test_routes_of_other_namespaces_are_looked_at_only_where_that_is_allowed(cluster):
    def refused(*_):
        raise ClusterRefused("may not list")

    cluster.select_everywhere = refused
    assert subject_of(frozen()).look(1.0, 5).busy == ""


PLAN = yaml.safe_load((ROOT / "include/rollouts/llm.yaml").read_text())


@pytest.mark.parametrize(
    ("retention", "assets"),
    [
        ({}, {"rolled-back"}),
        ({"keep": "1d"}, {"promoted", "rolled-back"}),
        ({"keep": "1d", "keep_rolled_back": None}, {"promoted"}),
        ({"keep_rolled_back": None}, set()),
    ],
)
def test_it_runs_by_itself_after_what_the_plan_says(retention, assets):
    dag = build_retire_dag(parse_plan(PLAN | {"retention": retention}))
    assert dag.dag_id == "retire_llm"
    assert dag.tags == {"inference-rollout", "retirement"}
    assert dag.is_paused_upon_creation is False
    condition = getattr(dag.timetable, "asset_condition", None)
    heard = {asset.name for asset in condition.objects} if condition else set()
    assert heard == {f"inference-rollouts/llm/{asset}" for asset in assets}
    outlets = {outlet.name for task in build_dag(parse_plan(PLAN)).tasks for outlet in task.outlets}
    assert heard <= outlets


@pytest.mark.parametrize("asks", [True, False])
def test_the_chain_of_a_retirement(asks):
    dag = build_retire_dag(parse_plan(PLAN | {"approvals": {"retire": asks}}))
    chain = ["check", "wait_idle", *(["approve"] if asks else []), "retire"]
    assert [task.task_id for task in dag.tasks] == ["leftovers", *(f"retirement.{task}" for task in chain)]
    for before, after in pairwise(chain):
        assert f"retirement.{after}" in dag.task_dict[f"retirement.{before}"].downstream_task_ids
    assert min(task.retries for task in dag.tasks) >= 1


def test_the_trigger_survives_serialization(cluster):
    trigger = again(IdleTrigger(retirement=frozen().to_json(), deadline=5.0))
    assert (trigger.retirement, trigger.deadline) == (frozen().to_json(), 5.0)


ADAPTERS = yaml.safe_load((ROOT / "include/rollouts/food-review.yaml").read_text())


@pytest.fixture
def adapters(cluster, monkeypatch):
    """The pods of the adapter's pool, and what was unloaded on them."""
    plan = parse_plan(ADAPTERS)
    cluster.put_pool(plan.pool)
    unloaded = []
    monkeypatch.setattr(
        "inference_rollouts.rollout.retirement.unload_adapter", lambda url, name: unloaded.append((url, name))
    )
    return plan, unloaded


def test_an_adapter_is_unloaded_on_every_pod(cluster, adapters):
    plan, unloaded = adapters
    subject = subject_of(Retirement(plan, plan.stable, Action.REMOVE))
    assert subject.find() == ()
    assert subject.reconcile().phase == "ready"
    assert unloaded == [(f"http://127.0.0.{n}:8000", plan.stable) for n in (1, 2, 3)]
    assert cluster.events == ["AdapterUnloaded"]


def test_an_adapter_that_a_rewrite_sends_requests_to_stays(cluster, adapters):
    plan, unloaded = adapters
    cluster.served = {*cluster.served, (OBJECTIVE_API, "InferenceModelRewrite")}
    cluster.put(OBJECTIVE_API, "InferenceModelRewrite", rewrite(plan.alias, plan.stable, plan.pool))
    subject = subject_of(Retirement(plan, plan.stable, Action.REMOVE))
    for act in (subject.find, subject.proceed):
        with pytest.raises(RetirementRefused, match=f"sends requests to {plan.stable}"):
            act()
    assert "sends requests" in subject.look(1.0, 5).busy
    assert unloaded == []


class Provisioner:
    def __init__(self):
        self.answers = [Readiness(Phase.WAITING, "being deleted"), Readiness(Phase.READY, "gone")]

    def take_back(self):
        return self.answers.pop(0)


@pytest.mark.parametrize("action", ["remove", "scale-down"])
def test_the_nodes_that_a_rollout_created_are_given_back_last(retire, cluster, monkeypatch, action):
    provisioner, asked = Provisioner(), []

    def provisioner_of(_, plan, pool, run):
        asked.append((plan.name, pool, run, "Pod" in cluster.left()))
        return provisioner

    monkeypatch.setattr("inference_rollouts.rollout.retirement.provisioner_of", provisioner_of)
    assert retire(action=action)["run"] == "success"
    assert asked == [("llm", OLD, None, False)] * 2
    assert provisioner.answers == []


def test_nodes_on_which_others_work_stay(cluster, monkeypatch):
    monkeypatch.delattr("inference_rollouts.rollout.retirement.provisioner_of")
    limits = {"limits": {"nvidia.com/gpu": "1"}}
    spec = {"nodeName": "gpu-node-1", "containers": [{"resources": limits}]}
    cluster.put(
        "v1", "Pod", {"metadata": {"name": "of-others"}, "spec": spec, "status": {"phase": "Running"}}
    )
    answer = subject_of(frozen()).reconcile()
    assert answer == Readiness(Phase.READY, "the nodes stay: of-others run there")
    assert cluster.left() == []
