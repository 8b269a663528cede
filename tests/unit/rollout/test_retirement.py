"""Taking away what was left: killed anywhere it ends the same, and what others use or made stays."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import Forbidden, RetirementRefused
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.objects.readiness import Phase, Readiness
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.retirement.idle import Clock
from inference_rollouts.core.retirement.retirement import Retirement
from tests.support.fake_cluster import OBJECTIVE_API
from tests.support.left_behind import NEW, OLD, Stage
from tests.support.plans import food_review_plan
from tests.support.routes import rewrite


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("at", range(8))
def test_what_is_killed_before_any_write_ends_the_same_when_it_is_repeated(stage: Stage, at: int) -> None:
    retirement = stage.found()
    writes: list[tuple[str, str, str]] = []

    def killed(*write: str) -> None:
        verb, kind, name = write
        writes.append((verb, kind, name))
        if len(writes) == at + 1:
            raise KeyboardInterrupt

    stage.cluster.before = killed
    with pytest.raises(KeyboardInterrupt):
        stage.subject(retirement).reconcile()
    again = stage.subject(Retirement.from_json(retirement.to_json()))
    assert again.reconcile().phase is Phase.READY
    assert stage.cluster.left() == []
    assert stage.cluster.weights() == {NEW: 100}


def test_who_writes_at_the_same_moment_does_not_end_it(stage: Stage) -> None:
    """Such as who scales a workload, or adds a rule to a route."""
    raced: list[str] = []

    def race(verb: str, kind: str, name: str) -> None:
        if verb == "patch" and kind not in raced:
            raced.append(kind)
            live = stage.cluster.objects[kind, name]
            if kind == "Deployment":
                live["spec"]["replicas"] += 1
            else:
                live["spec"]["rules"].insert(0, {"matches": [{"path": {"value": "/new"}}]})

    retirement, stage.cluster.before = stage.found(), race
    assert stage.subject(retirement).reconcile().phase is Phase.READY
    assert raced == ["HTTPRoute", "Deployment"]
    assert stage.cluster.left() == []


def test_a_route_that_is_gone_meanwhile_needs_no_more(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    retirement, listed = stage.found(), stage.cluster.select

    def select(api: str, kind: str, labels: Any = None) -> Any:
        found = listed(api, kind, labels)
        if kind == "HTTPRoute":
            for each in found:
                stage.cluster.objects.pop((kind, each["metadata"]["name"]), None)
        return found

    subject = stage.subject(retirement)
    monkeypatch.setattr(stage.cluster, "select", select)
    assert subject.reconcile().phase is Phase.READY


def test_another_object_of_the_same_name_stays(stage: Stage) -> None:
    retirement, cluster = stage.found(), stage.cluster
    del cluster.objects["InferencePool", OLD]
    del cluster.objects["Deployment", OLD]
    cluster.put_pool(OLD)
    stage.subject(retirement).reconcile()
    assert {("InferencePool", OLD), ("Deployment", OLD), ("Pod", f"{OLD}-0")} <= cluster.objects.keys()


def test_routes_of_other_namespaces_are_looked_at_only_where_that_is_allowed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise Forbidden("GET", "/apis", 403, "may not list")

    monkeypatch.setattr(stage.cluster, "select_everywhere", refused)
    everywhere = type(stage.cluster).select_everywhere
    monkeypatch.setattr(
        stage.cluster,
        "select",
        lambda api, kind, labels=None: [
            obj
            for obj in everywhere(stage.cluster, api, kind)
            if (labels or {}).items() <= obj["metadata"].get("labels", {}).items()
        ],
    )
    assert stage.subject(stage.found()).observe(5).busy == ""


def test_nodes_on_which_others_work_stay(stage: Stage) -> None:
    """No client of GKE is given: whoever asked for one would fail."""
    limits = {"limits": {"nvidia.com/gpu": "1"}}
    spec = {"nodeName": "gpu-node-1", "containers": [{"resources": limits}]}
    pod = {"metadata": {"name": "of-others"}, "spec": spec, "status": {"phase": "Running"}}
    stage.cluster.put("v1", "Pod", pod)
    answer = stage.subject(stage.found()).reconcile()
    assert answer == Readiness(Phase.READY, "the nodes stay: of-others run there")
    assert stage.cluster.left() == []


def attach(stage: Stage) -> None:
    """What was copied for the pool, and what of it somebody else has."""
    mine = owner_labels("llm", OLD)
    for api, kind in (
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("policy/v1", "PodDisruptionBudget"),
        ("brew.example.com/v1", "TeapotPolicy"),
    ):
        stage.cluster.served.add((api, kind))
        for name, labels in ((OLD, mine), ("of-others", {})):
            stage.cluster.put(api, kind, {"metadata": {"name": name, "labels": labels}, "spec": {}})


@pytest.mark.parametrize(
    ("action", "gone"),
    [
        (Action.REMOVE, {"HorizontalPodAutoscaler", "PodDisruptionBudget", "TeapotPolicy"}),
        (Action.SCALE_DOWN, {"HorizontalPodAutoscaler"}),
    ],
)
def test_copies_go_with_their_pool_and_an_autoscaler_before_it_could_scale_it_up(
    stage: Stage, action: Action, gone: set[str]
) -> None:
    attach(stage)
    retirement = Retirement(stage.found().plan, OLD, action, stage.found().objects)
    order: list[tuple[str, str]] = []
    stage.cluster.before = lambda verb, kind, name: order.append((verb, kind))
    stage.subject(retirement).reconcile()
    kinds = {"HorizontalPodAutoscaler", "PodDisruptionBudget", "TeapotPolicy"}
    assert {kind for kind in kinds if (kind, OLD) not in stage.cluster.objects} == gone
    assert {kind for kind in kinds if (kind, "of-others") in stage.cluster.objects} == kinds
    scaled = [each for each in order if each[1] in ("HorizontalPodAutoscaler", "Deployment")]
    assert scaled[0] == ("delete", "HorizontalPodAutoscaler")


@pytest.fixture
def plan(stage: Stage) -> AdapterPlan:
    """A plan of an adapter, whose pool is there."""
    plan = food_review_plan()
    stage.cluster.put_pool(plan.pool)
    return plan


def test_an_adapter_is_unloaded_on_every_pod(stage: Stage, plan: AdapterPlan) -> None:
    subject = stage.subject(Retirement(plan, plan.stable, Action.REMOVE))
    assert subject.find() == ()
    assert subject.reconcile().phase is Phase.READY
    assert stage.servers.unloaded == [(f"http://127.0.0.{n}:8000", plan.stable) for n in (1, 2, 3)]
    assert stage.cluster.events == ["AdapterUnloaded"]


def test_an_adapter_that_a_rewrite_sends_requests_to_stays(stage: Stage, plan: AdapterPlan) -> None:
    stage.cluster.served.add((OBJECTIVE_API, "InferenceModelRewrite"))
    obj = rewrite(plan.alias, plan.stable, plan.pool)
    stage.cluster.put(OBJECTIVE_API, "InferenceModelRewrite", obj)
    subject = stage.subject(Retirement(plan, plan.stable, Action.REMOVE))
    for act in (subject.find, subject.reconcile):
        with pytest.raises(RetirementRefused, match=f"sends requests to {plan.stable}"):
            act()
    assert "sends requests" in subject.observe(5).busy
    assert stage.servers.unloaded == []


def test_another_cluster_s_pods_of_another_name_keep_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are always busy, and write into the same store."""
    query = stage.activity.query

    def both(promql: str, at: float) -> list[dict[str, Any]]:
        own = query(promql, at)
        theirs = [{"metric": each["metric"] | {"pod": "theirs"}, "value": [at, "7"]} for each in own]
        return [*own, *theirs]

    monkeypatch.setattr(stage.activity, "query", both)
    seen = stage.subject(stage.found()).observe(5)
    assert seen.busy == ""
    assert {pod for _, pod in seen.answered} <= set(stage.cluster.pods_of(OLD))


def beside(stage: Stage, theirs: dict[str, str], begun: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another cluster's pods of the names of ours, which are always busy, write into the same store.

    `theirs` are their labels. All of ours began at 1, as the cluster says.
    """
    query = stage.activity.query
    for pod in stage.cluster.pods_of(OLD):
        running = {"state": {"running": {"startedAt": "1970-01-01T00:00:01Z"}}}
        stage.cluster.objects["Pod", pod]["status"]["containerStatuses"] = [running]

    def both(promql: str, at: float) -> list[dict[str, Any]]:
        own = [each | {"metric": {"cluster": "here"} | each["metric"]} for each in query(promql, at)]
        also = [
            {
                "metric": each["metric"] | theirs,
                "value": [at, str(begun) if each["metric"]["series"] == "started" else "7"],
            }
            for each in own
        ]
        return [*own, *also]

    monkeypatch.setattr(stage.activity, "query", both)


def test_another_cluster_s_pods_of_the_same_names_keep_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside(stage, {"cluster": "away"}, 5000.0, monkeypatch)
    seen = stage.subject(stage.found()).observe(5)
    assert seen.busy == ""
    assert set(seen.answered.values()) == {7.0}, "of each name one alone"


def test_nothing_is_quiet_where_nothing_tells_which_of_the_same_names_are_ours(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside(stage, {"cluster": "away"}, 1.5, monkeypatch)
    stage.activity.inside = lambda _: 0.0
    monkeypatch.setattr("inference_rollouts.core.judging.sites.CLOCK", 0.1)
    assert "nothing tells which are ours" in stage.subject(stage.found()).observe(5).busy


def test_a_pod_made_anew_under_its_name_that_has_answered_as_many_is_no_quiet_one(stage: Stage) -> None:
    """What ran in the one before it until its end, nobody has seen."""
    subject, clock = stage.subject(stage.found()), Clock()
    for at in (0.0, 5.0, 10.0):
        stage.activity.began = 1.0 if at < 10 else 8.0
        stage.cluster.clock = lambda at=at: at  # type: ignore[misc]
        clock = clock.tick(subject.observe(5))
    assert not clock.is_quiet(10.0)
