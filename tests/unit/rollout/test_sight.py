"""Observers share what watches tell; what ends a step is read afresh, and differs in nothing from before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from inference_rollouts.clients.view import ClusterView
from inference_rollouts.core.errors import ClusterUnavailable, RouteDrift
from inference_rollouts.core.judging.judge import Carried, Judgement, Verdict
from inference_rollouts.core.limits import LEASE_RENEWAL
from inference_rollouts.core.objects.api_groups import POOL_APIS
from inference_rollouts.rollout import observation, sight
from inference_rollouts.rollout.step_observer import StepObserver
from inference_rollouts.rollout.switch import throw
from tests.support.plans import CANARY, STABLE
from tests.support.steps import Step
from tests.support.told_cluster import ToldCluster

PATIENT = {"margin": None}
ON: dict[str, Any] = PATIENT | {"progress_deadline": "60s"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.clients.view.FIRST_PAUSE", 0.0)


class Watched:
    """A step whose observer shares a view."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.told = ToldCluster(step.cluster)
        self.view = ClusterView(self.told)
        run = replace(step.run, clients=replace(step.run.clients, view=self.view))
        self.observer = StepObserver(run, run.plan.step_context(1, step.since), Carried())


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched(Step(analysis=ON))
    yield made
    made.view.close()
    made.told.release()


def test_nothing_is_read_or_worked_out_while_nothing_changes(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    observe = observation.observe_cluster

    def counted(*args: Any) -> Any:
        looks.append(1)
        return observe(*args)

    monkeypatch.setattr(sight, "observe_cluster", counted)
    for elapsed in (0.0, 0.05, 0.1):
        assert not watched.observer.observe(watched.step.since + elapsed).verdict.final
    assert (len(looks), watched.told.reads) == (1, 0)
    watched.step.cluster.scale(CANARY, 2)
    watched.told.tell()
    watched.observer.observe(watched.step.since + 0.15)
    assert len(looks) == 2


def test_who_sees_no_change_begins_and_ends_without_asking_the_cluster(watched: Watched) -> None:
    """Until somebody may have to be told: a lease is due, a change is seen, or it is all over."""
    observer, since = watched.observer, watched.step.since
    assert observer.glance(since) is None, "nothing was seen yet"
    observer.observe(since)
    begun = observer.glance(since + 0.05)
    assert begun
    observer.count(begun)
    judgement = observer.judge(begun)
    assert observer.is_concluded(begun, judgement)
    alarm = judgement.model_copy(update={"verdict": Verdict.ROLLBACK})
    assert not observer.is_concluded(begun, alarm)
    now = watched.step.cluster.time() + LEASE_RENEWAL
    watched.step.cluster.clock = lambda: now
    assert not observer.is_concluded(begun, judgement)
    observer.conclude(begun, judgement)
    assert observer.is_concluded(begun, judgement)
    watched.step.cluster.scale(CANARY, 2)
    watched.told.tell()
    assert observer.glance(since + 0.1) is None


def test_a_switch_is_seen_at_the_next_observation_that_reads_it(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer, since = watched.observer, watched.step.since
    observer.observe(since)
    throw(watched.step.cluster, "back", "ann", "an incident", 600)
    assert observer.glance(since + 0.05), "what was seen of it a moment ago still counts"
    monkeypatch.setattr("inference_rollouts.rollout.switch.SWITCH_SEEN", 0.0)
    assert observer.glance(since + 0.1) is None
    assert observer.observe(since + 0.1).verdict is Verdict.ROLLBACK


def test_a_step_that_watches_have_not_told_of_yet_stands_all_the_same(watched: Watched) -> None:
    step, now = watched.step, watched.step.since
    watched.observer.observe(now)
    step.run.traffic.permit(1, now)
    step.run.traffic.shift(2, step.run.plan.all_steps[1], now)
    run = watched.observer.run
    assert not StepObserver(run, run.plan.step_context(2, now), Carried()).observe(now).verdict.final


def test_a_step_passes_only_by_a_cluster_that_was_read_for_it(watched: Watched) -> None:
    """The watches show pods as ready that are ready no more."""
    step, now = watched.step, watched.step.since
    seen = [watched.observer.observe(now)]
    for name in step.cluster.pods_of(CANARY):
        step.cluster.objects["Pod", name]["status"]["conditions"] = []
    while not seen[-1].verdict.final:
        now = watched.observer.next_observation(now)
        seen.append(watched.observer.observe(now))
    assert len(seen) > 2
    assert seen[-1].verdict is Verdict.ROLLBACK
    assert "ready" in seen[-1].reason


def test_no_alarm_is_raised_by_what_was_so_some_time_ago(watched: Watched) -> None:
    """The watches show no ready pod, but there are some by now."""
    step = watched.step
    step.cluster.scale(CANARY, 0)
    watched.view.select("v1", "Pod")
    step.cluster.scale(CANARY, 3)
    assert watched.observer.observe(step.since).verdict is not Verdict.ROLLBACK
    assert step.cluster.weights()[CANARY]


def test_no_rollout_is_lost_by_what_was_so_some_time_ago(watched: Watched) -> None:
    """The watches show the route before it was claimed. Weights of others, which are there, do end it."""
    step = watched.step
    claimed = step.cluster.objects.pop(("HTTPRoute", "routes-to-llm"))
    step.cluster.objects["HTTPRoute", "routes-to-llm"] = {
        **claimed,
        "metadata": {**claimed["metadata"], "annotations": {}, "resourceVersion": "0"},
    }
    watched.view.select("gateway.networking.k8s.io/v1", "HTTPRoute")
    step.cluster.objects["HTTPRoute", "routes-to-llm"] = claimed
    assert not watched.observer.observe(step.since).verdict.final
    step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    with pytest.raises(RouteDrift):
        watched.observer.observe(step.since + 0.05)


def test_shared_or_alone_a_judge_says_the_same() -> None:
    """Word for word, but for how old the view was."""
    told = []
    for shared in (False, True):
        step = Step(analysis=PATIENT, metrics="vllm")
        step.prometheus.failing[CANARY] = 0.002
        made = Watched(step)
        observer, now = made.observer if shared else step.observer(), step.since
        judgements: list[Judgement] = []
        while not judgements or not judgements[-1].verdict.final:
            judgements.append(observer.observe(now))
            now = observer.next_observation(now)
        windows = observer.latest.windows
        told.append(([each.to_json() for each in judgements], list(windows)))
        assert step.cluster.weights()[STABLE]
        made.view.close()
        made.told.release()
    assert told[0] == told[1]


def test_what_could_not_be_seen_was_not_read_afresh(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a verdict would rest on what was read for another."""
    seen = watched.observer._lookout.sight
    seen.observe(afresh=True)
    assert seen.afresh

    def down(*_: object) -> None:
        raise ClusterUnavailable("GET", "/pods", 0, "it hangs")

    monkeypatch.setattr(sight, "observe_cluster", down)
    with pytest.raises(ClusterUnavailable):
        seen.observe(afresh=False)
    assert not seen.afresh


def test_crashes_are_counted_once_whoever_saw_them(watched: Watched) -> None:
    """Told by a watch and then read afresh, or the other way round."""
    sight, cluster = watched.observer._lookout.sight, watched.step.cluster
    pod = next(obj for (kind, name), obj in cluster.objects.items() if kind == "Pod" and CANARY in name)
    for restarts, afresh in ((0, False), (1, False), (2, True)):
        pod["status"]["containerStatuses"] = [{"name": "server", "restartCount": restarts}]
        watched.told.tell()
        seen = [sight.observe(afresh=way).health.restarts for way in (afresh, not afresh)]
        assert seen == [restarts] * 2 == [sight.crashes.count] * 2


def test_a_cluster_with_the_older_api_of_pools_is_not_asked_either(watched: Watched) -> None:
    """The newer one is looked for first, each time, and is not served."""
    observer, since, served = watched.observer, watched.step.since, watched.step.cluster.served
    newer, older = POOL_APIS
    served.remove((newer, "InferencePool"))
    served.add((older, "InferencePool"))
    assert not observer.observe(since).verdict.final
    reads = watched.told.reads
    assert observer.glance(since + 0.05)
    assert watched.told.reads == reads
