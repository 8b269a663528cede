"""Who takes a step over counts what its pods did that are gone since, as if nobody had been away."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterUnavailable
from inference_rollouts.core.judging.decision_record import replay, windows_in
from inference_rollouts.core.routing.watch import SEEN
from inference_rollouts.rollout.guardian import Guardian
from inference_rollouts.rollout.step_observer import StepObserver
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_prometheus import FakePrometheus
from tests.support.plans import CANARY, STABLE
from tests.support.steps import START, Step

LEASE = "httproute-routes-to-llm"


class Scene:
    """A step that is observed each second, by the API server's clock too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **analysis: Any) -> None:
        self.now = START
        patient = {"interval": "1s", "progress_deadline": "1h", "margin": None} | analysis
        self.step = Step(clock=lambda: self.now, analysis=patient, bake="1h")
        self.cluster = self.step.cluster
        remember(monkeypatch, self.step.prometheus)

    def observe(self, observer: Any, seconds: float) -> Any:
        self.now = START + seconds
        return observer.observe(self.now)

    def replace(self, pool: str) -> None:
        """Of a pool all pods go, and as many others come."""
        names = self.cluster.pods_of(pool)
        for number, name in enumerate(names):
            pod = self.cluster.objects.pop(("Pod", name))
            metadata = {**pod["metadata"], "name": f"{pool}-{10 + number}", "uid": f"new-{pool}-{number}"}
            status = {key: value for key, value in pod["status"].items() if key != "containerStatuses"}
            self.cluster.put("v1", "Pod", {**pod, "metadata": metadata, "status": status})

    def crash(self, pod: str, times: int) -> None:
        """A container of a pod was started anew so often since the step began."""
        over = {"startedAt": "1970-01-01T00:16:41Z", "finishedAt": "1970-01-01T00:16:42Z"}  # 1001 and 1002
        status = {"name": "server", "restartCount": times, "lastState": {"terminated": over}}
        self.cluster.objects["Pod", pod]["status"]["containerStatuses"] = [status]


def remember(monkeypatch: pytest.MonkeyPatch, store: FakePrometheus) -> None:
    """A store says of a time what it has said, whatever pods there are since."""
    said: dict[tuple[str, float], list[dict[str, Any]]] = {}
    query = store.query

    def remembered(promql: str, at: float) -> list[dict[str, Any]]:
        return said.setdefault((promql, at), query(promql, at))

    monkeypatch.setattr(store, "query", remembered)


def replaced_while_observed(monkeypatch: pytest.MonkeyPatch) -> tuple[Scene, StepObserver]:
    """Six seconds were observed before all pods of both arms were replaced; and who observed."""
    scene = Scene(monkeypatch, guardrails={"restarts": 99})
    stays = scene.step.observer()
    for second in range(6):
        scene.observe(stays, second)
    for pool in (CANARY, STABLE):
        scene.replace(pool)
    return scene, stays


def test_pods_of_both_arms_that_went_away_count(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, stays = replaced_while_observed(monkeypatch)
    comes = scene.step.observer()
    for second in range(6, 9):
        known, seen = scene.observe(stays, second), scene.observe(comes, second)
    assert seen.canary.requests == known.canary.requests > 0
    assert seen.stable.requests == known.stable.requests > 0
    assert not any("Not counted" in warning for warning in seen.warnings)


def test_pods_of_another_cluster_do_not_count_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.step.prometheus.also = "theirs-"
    stays = scene.step.observer()
    for second in range(6):
        scene.observe(stays, second)
    scene.replace(STABLE)
    comes = scene.step.observer()
    known, seen = scene.observe(stays, 6), scene.observe(comes, 6)
    assert seen.stable.requests == known.stable.requests > 0


def test_crashes_of_pods_that_went_away_count(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    stays = scene.step.observer()
    scene.observe(stays, 3)
    scene.crash(scene.cluster.pods_of(CANARY)[0], 2)
    scene.observe(stays, 14)  # leases are renewed every ten seconds
    scene.replace(CANARY)
    comes = scene.step.observer()
    scene.observe(comes, 15)
    scene.crash(scene.cluster.pods_of(CANARY)[0], 1)
    judgement = scene.observe(comes, 16)
    assert judgement.verdict.value == "rollback"
    assert "The canary's pods crash: 3 times" in judgement.reason


def test_crashes_of_pods_that_are_there_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, guardrails={"restarts": 9})
    pod = scene.cluster.pods_of(CANARY)[0]
    scene.crash(pod, 2)
    scene.observe(scene.step.observer(), 3)
    comes = scene.step.observer()
    scene.observe(comes, 4)
    assert comes._lookout.sight.crashes.count == 2
    scene.crash(pod, 3)
    scene.observe(comes, 5)
    assert comes._lookout.sight.crashes.count == 3


def test_pods_that_were_exchanged_while_nobody_looked_are_no_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.observe(scene.step.observer(), 3)
    scene.replace(CANARY)
    comes = scene.step.observer()
    scene.observe(comes, 60)
    assert comes._lookout.sight.crashes.count == 0


def test_a_guardian_knows_of_them_and_keeps_them_for_who_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.crash(scene.cluster.pods_of(CANARY)[0], 2)
    scene.observe(scene.step.observer(), 3)
    seen = scene.cluster.objects["Lease", LEASE]["metadata"]["annotations"][SEEN]
    scene.replace(CANARY)
    scene.now += 60  # nobody watches any more
    guardian = Guardian(scene.cluster, None, "guardian")
    assert not guardian.round().ended
    assert scene.cluster.objects["Lease", LEASE]["metadata"]["annotations"][SEEN] == seen
    scene.crash(scene.cluster.pods_of(CANARY)[0], 1)
    [ended] = guardian.round().ended
    assert "The canary's pods crash: 3 times" in ended.why


def test_what_another_step_left_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.crash(scene.cluster.pods_of(CANARY)[0], 2)
    scene.observe(scene.step.observer(), 3)
    scene.replace(CANARY)
    scene.step.since += 4
    comes = scene.step.observer()
    scene.observe(comes, 5)
    assert comes._lookout.sight.crashes.count == 0


def test_leases_that_nobody_can_read_hold_no_observation_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, find = Scene(monkeypatch), FakeCluster.find

    def unreadable(cluster: FakeCluster, api: str, kind: str, name: str) -> Any:
        if kind == "Lease":
            raise ClusterUnavailable("GET", "/leases", 503, "starting")
        return find(cluster, api, kind, name)

    monkeypatch.setattr(FakeCluster, "find", unreadable)
    observer = scene.step.observer()
    for second in range(4):
        judgement = scene.observe(observer, second)
    assert judgement.canary.requests > 0


def refusing(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The API server reads leases once it was asked so often."""
    find, asked = FakeCluster.find, iter(range(times))

    def starting(cluster: FakeCluster, api: str, kind: str, name: str) -> Any:
        if kind == "Lease" and next(asked, None) is not None:
            raise ClusterUnavailable("GET", "/leases", 503, "starting")
        return find(cluster, api, kind, name)

    monkeypatch.setattr(FakeCluster, "find", starting)


def test_pods_that_were_heard_of_late_count_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, stays = replaced_while_observed(monkeypatch)
    known = scene.observe(stays, 6), scene.observe(stays, 7)
    refusing(monkeypatch, 1)
    comes = scene.step.observer()
    without = scene.observe(comes, 6)
    seen = scene.observe(comes, 7)
    assert without.canary.requests < known[0].canary.requests
    assert seen.canary.requests == known[1].canary.requests > 0
    assert seen.stable.requests == known[1].stable.requests > 0
    assert [each.end - START for each in windows_in(comes.record.newest.lines)] == [1, 2, 3, 4, 5, 6, 7]
    assert replay(comes.record.newest.lines) == list(comes.record.newest.lines)


def test_crashes_before_it_was_heard_of_others_count_with_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, guardrails={"restarts": 99})
    first, second, *_ = scene.cluster.pods_of(CANARY)
    scene.crash(first, 2)
    scene.observe(scene.step.observer(), 3)
    refusing(monkeypatch, 3)  # asked for what was left, for the lease itself, and once more
    comes = scene.step.observer()
    scene.observe(comes, 14)
    scene.crash(second, 1)
    scene.observe(comes, 15)
    assert comes._lookout.memory() == "", "nothing was heard yet"
    lost = scene.cluster.objects.pop(("Pod", first))
    metadata = {**lost["metadata"], "name": "anew", "uid": "anew"}
    status = {key: value for key, value in lost["status"].items() if key != "containerStatuses"}
    scene.cluster.put("v1", "Pod", {**lost, "metadata": metadata, "status": status})
    scene.observe(comes, 16)
    scene.crash(second, 2)
    scene.observe(comes, 17)
    assert comes._lookout.sight.crashes.count == 2 + 2 + 1, "of the first, of the second, and one was lost"


def test_what_could_not_be_read_at_first_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.crash(scene.cluster.pods_of(CANARY)[0], 2)
    scene.observe(scene.step.observer(), 3)
    scene.replace(CANARY)
    refusing(monkeypatch, 1)
    comes = scene.step.observer()
    scene.observe(comes, 14)  # it renews its lease at once
    assert comes._lookout.sight.crashes.count == 0
    scene.observe(comes, 15)
    assert comes._lookout.sight.crashes.count == 2


def test_who_has_not_heard_yet_looks_again_though_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.observe(scene.step.observer(), 3)
    refusing(monkeypatch, 2)
    comes = scene.step.observer()
    for second, heard in ((14, False), (15, True)):
        scene.observe(comes, second)
        seen = comes._lookout.look(afresh=True) if heard else comes._lookout.sight._last
        monkeypatch.setattr(comes._lookout.sight, "glance", lambda seen=seen: seen or object())
        assert (comes._lookout.glance() is not None) is heard
