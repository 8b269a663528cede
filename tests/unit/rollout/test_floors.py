"""Stable's autoscaler may not shrink it while a rollout runs, and has its own floor back afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterUnavailable, Forbidden
from inference_rollouts.core.routing.claim import Ending, read_ending
from inference_rollouts.core.routing.floors import lowered
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.floors import raise_floors
from inference_rollouts.rollout.guardian import Guardian
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import CANARY, STABLE, llm_plan
from tests.support.routes import ref
from tests.support.steps import Step

HPA, KEDA = ("autoscaling/v2", "HorizontalPodAutoscaler"), ("keda.sh/v1alpha1", "ScaledObject")


def scaler(cluster: FakeCluster, kind: tuple[str, str] = HPA, target: str = STABLE, **spec: Any) -> None:
    """An autoscaler of a Deployment."""
    cluster.served.add(kind)
    reference = {"name": target} if kind == KEDA else {"kind": "Deployment", "name": target}
    cluster.put(*kind, {"metadata": {"name": f"of-{target}"}, "spec": {"scaleTargetRef": reference, **spec}})


def scaled(kind: tuple[str, str] = HPA, target: str = STABLE, upto: int = 1, **spec: Any) -> Step:
    """A rollout whose stable pool of three pods has an autoscaler."""
    return Step(upto=upto, before=lambda cluster: scaler(cluster, kind, target, **spec))


def spec_of(step: Step, kind: tuple[str, str] = HPA, target: str = STABLE) -> dict[str, Any]:
    spec = dict(step.cluster.objects[kind[1], f"of-{target}"]["spec"])
    del spec["scaleTargetRef"]
    return spec


def owed(step: Step) -> int:
    last = read_ending(step.cluster.route)
    return len(last.floors) if last else 0


@pytest.mark.parametrize(
    ("kind", "found", "meanwhile"),
    [
        (HPA, {"minReplicas": 1, "maxReplicas": 8}, {"minReplicas": 3, "maxReplicas": 8}),
        (HPA, {"maxReplicas": 8}, {"minReplicas": 3, "maxReplicas": 8}),
        (HPA, {"minReplicas": 1, "maxReplicas": 2}, {"minReplicas": 2, "maxReplicas": 2}),
        (KEDA, {}, {"minReplicaCount": 3}),
        (KEDA, {"minReplicaCount": 1, "maxReplicaCount": 4}, {"minReplicaCount": 3, "maxReplicaCount": 4}),
        (KEDA, {"idleReplicaCount": 0, "minReplicaCount": 1}, {"minReplicaCount": 3}),
        (KEDA, {"idleReplicaCount": 0, "minReplicaCount": 5}, {"minReplicaCount": 5}),
    ],
)
@pytest.mark.parametrize("end", ["restored", "promoted"])
def test_the_floor_is_what_stable_has_and_as_found_afterwards(
    kind: tuple[str, str], found: dict[str, Any], meanwhile: dict[str, int], end: str
) -> None:
    step = scaled(kind, **found)
    assert spec_of(step, kind) == meanwhile
    finish(step, end)
    assert spec_of(step, kind) == found
    assert step.cluster.ending() is Ending(end)
    assert not owed(step)


def finish(step: Step, end: str) -> None:
    traffic = step.run.traffic
    if end == "restored":
        traffic.way_back.restore("a test", 9.0)
        return
    traffic.permit(1, 9.0)
    traffic.shift(2, step.run.plan.all_steps[1], 10.0)
    traffic.permit(2, 11.0)
    traffic.promote(12.0)


@pytest.mark.parametrize(
    ("target", "spec"), [(STABLE, {"minReplicas": 5, "maxReplicas": 8}), ("another", {"maxReplicas": 8})]
)
def test_what_cannot_shrink_it_is_left_alone(target: str, spec: dict[str, Any]) -> None:
    step = scaled(target=target, **spec)
    assert spec_of(step, target=target) == spec
    assert step.run.traffic.claims()[0].floors == ()


def test_what_a_scaled_object_made_follows_that() -> None:
    def both(cluster: FakeCluster) -> None:
        scaler(cluster, KEDA, minReplicaCount=1)
        scaler(cluster, HPA, minReplicas=1, maxReplicas=9)
        owner = {"kind": "ScaledObject", "name": f"of-{STABLE}"}
        cluster.objects["HorizontalPodAutoscaler", f"of-{STABLE}"]["metadata"]["ownerReferences"] = [owner]

    step = Step(before=both)
    assert spec_of(step, KEDA) == {"minReplicaCount": 3}
    assert spec_of(step, HPA)["minReplicas"] == 1


def test_a_plan_may_leave_autoscalers_alone() -> None:
    spec: dict[str, Any] = {"minReplicas": 1, "maxReplicas": 8}
    step = Step(before=lambda cluster: scaler(cluster, **spec), capacity={"keep_stable": False})
    assert spec_of(step) == spec


def test_where_autoscalers_may_not_be_seen_the_rollout_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    select = FakeCluster.select

    def forbidden(self: FakeCluster, api: str, kind: str, labels: Any = None) -> Any:
        if kind == "HorizontalPodAutoscaler":
            raise Forbidden("GET", "/horizontalpodautoscalers", 403, "may not list")
        return select(self, api, kind, labels)

    monkeypatch.setattr(FakeCluster, "select", forbidden)
    step = Step()
    assert step.cluster.weights()[CANARY] == 50
    assert "an autoscaler may make llm-pool smaller" in caplog.text


def test_a_floor_that_somebody_sets_anew_is_theirs_and_told() -> None:
    step = scaled(minReplicas=1, maxReplicas=8)
    step.cluster.objects["HorizontalPodAutoscaler", f"of-{STABLE}"]["spec"]["minReplicas"] = 2
    step.cluster.scale(STABLE, 2)
    for _ in range(3):
        step.observer().observe(step.since + 1)
    [told] = {event["message"] for event in step.cluster.told if event["reason"] == "StableShrunk"}
    assert told == (
        "llm-pool has 2 ready pods of the 3 before: the floor of HorizontalPodAutoscaler of-llm-pool is 2 "
        "where this rollout wants 3"
    )
    finish(step, "restored")
    assert spec_of(step)["minReplicas"] == 2
    assert not owed(step)


def but_autoscalers(patch: Callable[..., Any]) -> Callable[..., Any]:
    """Patches of anything but autoscalers."""

    def busy(api: str, kind: str, name: str, changes: Any) -> Any:
        if kind == "HorizontalPodAutoscaler":
            raise ClusterUnavailable("PATCH", "/horizontalpodautoscalers", 503, "busy")
        return patch(api, kind, name, changes)

    return busy


@pytest.mark.parametrize("who", ["the next rollout", "a guardian"])
def test_what_could_not_be_put_back_is_remembered_and_put_back_later(
    who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = scaled(minReplicas=1, maxReplicas=8)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(step.cluster, "patch", but_autoscalers(step.cluster.patch))
        finish(step, "restored")
    assert step.cluster.ending() is Ending.RESTORED, "the traffic waits for no autoscaler"
    assert owed(step) == 2, "of stable's, and of the canary's copy of it"
    if who == "a guardian":
        Guardian(step.cluster, None, "guardian").round()
    else:
        step.run.attach()
        assert step.run.traffic.claims()[0].floors[0].found == 1
        finish(step, "restored")
    assert spec_of(step)["minReplicas"] == 1
    assert not owed(step)


def test_what_is_owed_stays_while_the_next_rollout_needs_it_and_is_put_back_when_that_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = scaled(minReplicas=1, maxReplicas=8)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(step.cluster, "patch", but_autoscalers(step.cluster.patch))
        finish(step, "restored")
        step.run = replace(step.run, frozen=replace(step.run.frozen, token="another"))
        step.run.attach()
    Guardian(step.cluster, None, "guardian").round()
    assert spec_of(step)["minReplicas"] == 3
    finish(step, "restored")
    assert spec_of(step)["minReplicas"] == 1
    assert not owed(step)


@pytest.mark.parametrize("end", ["restored", "promoted"])
def test_what_is_owed_stays_while_a_rollout_of_another_route_has_the_same_stable_pool(end: str) -> None:
    """Its end puts it back, without anybody else."""

    def shared(cluster: FakeCluster) -> None:
        scaler(cluster, minReplicas=1, maxReplicas=8)
        cluster.put_route("second", [ref(STABLE)])

    step = Step(before=shared)
    plan = llm_plan(name="other", routes=[{"name": "second"}], canary="another")
    targets = (replace(step.run.frozen.targets[0], name="second"),)
    frozen = replace(step.run.frozen, token="other", plan=plan, targets=targets)
    other = replace(step.run, frozen=frozen, kind=kind_of(plan))
    other.attach()
    finish(step, end)
    assert spec_of(step)["minReplicas"] == 3
    other.traffic.way_back.restore("a test", 9.0)
    assert spec_of(step)["minReplicas"] == 1
    assert not owed(step)


def test_an_autoscaler_that_is_gone_is_in_nobodys_way() -> None:
    step = scaled(minReplicas=1, maxReplicas=8)
    del step.cluster.objects["HorizontalPodAutoscaler", f"of-{STABLE}"]
    finish(step, "restored")
    assert not owed(step)


def test_a_floor_where_nobody_asks_that_somebody_sets_again_is_told_and_theirs() -> None:
    step = scaled(KEDA, idleReplicaCount=0, minReplicaCount=3)
    floor, *_ = step.run.traffic.claims()[0].floors
    live = step.cluster.objects["ScaledObject", f"of-{STABLE}"]
    assert lowered(live, floor) == ""
    live["spec"]["idleReplicaCount"] = 1
    assert lowered(live, floor) == (
        f"the idle floor of ScaledObject of-{STABLE} is 1 where this rollout wants unset"
    )
    finish(step, "restored")
    assert spec_of(step, KEDA)["idleReplicaCount"] == 1


def late(step: Step, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """A task that is stopped while it attaches, `when` it is about to raise a floor.

    Its rollout ends meanwhile. Then it goes on, and dies with its first write.
    """
    patch, stopped = FakeCluster.patch, [False]

    def end(cluster: FakeCluster, api: str, kind: str, name: str, *rest: Any, **more: Any) -> Any:
        if kind != HPA[1] or stopped[0]:
            return patch(cluster, api, kind, name, *rest, **more)
        stopped[0] = True
        finish(step, "restored")
        patch(cluster, api, kind, name, *rest, **more)
        raise SystemExit

    def before(*arguments: Any) -> None:
        finish(step, "restored")
        raise_floors(*arguments)

    if when == "before it reads":
        monkeypatch.setattr("inference_rollouts.rollout.run.raise_floors", before)
    else:
        monkeypatch.setattr(FakeCluster, "patch", end)
    with suppress(SystemExit):
        step.run.attach()


@pytest.mark.parametrize("when", ["before it reads", "before it writes"])
@pytest.mark.parametrize("notes", [{}, {"team": "chat"}])
def test_who_comes_after_the_end_of_a_rollout_raises_no_floor(
    monkeypatch: pytest.MonkeyPatch, when: str, notes: dict[str, str]
) -> None:
    """Nobody would remember it, and who raised it may have died since."""
    step = scaled(minReplicas=1, maxReplicas=8)
    finish(step, "restored")
    live = step.cluster.objects[HPA[1], f"of-{STABLE}"]
    live["metadata"]["annotations"] = dict(notes)
    step.run = replace(step.run, frozen=replace(step.run.frozen, token="another"))
    late(step, monkeypatch, when)
    assert spec_of(step)["minReplicas"] == 1
    assert not owed(step)
    assert not step.run.traffic.claims()
    assert (step.cluster.objects[HPA[1], f"of-{STABLE}"]["metadata"].get("annotations") or {}) == notes


def test_who_may_not_write_autoscalers_owes_them_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = FakeCluster.patch

    def forbidden(cluster: FakeCluster, api: str, kind: str, *rest: Any, **more: Any) -> Any:
        if kind == HPA[1]:
            raise Forbidden("PATCH", "/horizontalpodautoscalers", 403, "may not patch")
        return patch(cluster, api, kind, *rest, **more)

    monkeypatch.setattr(FakeCluster, "patch", forbidden)
    step = scaled(minReplicas=1, maxReplicas=8)
    finish(step, "restored")
    assert spec_of(step)["minReplicas"] == 1
    assert not owed(step)
