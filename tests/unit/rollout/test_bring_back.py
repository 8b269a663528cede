"""All of it goes back when stable can take it; before, only what stable can take."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import add
from typing import Any

import pytest

from inference_rollouts.core.errors import ClusterUnavailable, Forbidden, RouteDrift, StableUnavailable
from inference_rollouts.core.limits import RETURN_PATIENCE
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.routing.claim import Ending, Phase
from inference_rollouts.rollout.bring_back import bring_back
from inference_rollouts.rollout.by_claims import end_by_claims
from inference_rollouts.rollout.way_back import Restored
from tests.support.fake_cluster import FakeCluster
from tests.support.plans import CANARY, STABLE
from tests.support.routes import ref
from tests.support.steps import Step

PICKER = {"name": "gone", "kind": "Service", "port": {"number": 9002}}


def bring(step: Step, *, patient: bool = True) -> Restored:
    kept = partial(step.run.kind.kept_share, step.run, patient=patient)
    return bring_back(step.run.traffic.way_back, kept, "an alarm", 9.0, patient=patient)


def lose(cluster: FakeCluster, pool: str, *numbers: int) -> None:
    """Some pods of a pool are gone, and its Deployment wants them back."""
    for number in numbers or range(3):
        del cluster.objects["Pod", f"{pool}-{number}"]


def kill_picker(cluster: FakeCluster, pool: str) -> None:
    cluster.objects["InferencePool", pool]["spec"]["endpointPickerRef"] = PICKER


def break_selector(cluster: FakeCluster, pool: str) -> None:
    cluster.objects["InferencePool", pool]["spec"]["selector"] = {}


@pytest.mark.parametrize("harm", [kill_picker, lose, break_selector])
def test_nothing_goes_back_to_a_pool_that_can_take_nothing_while_the_canary_serves(
    harm: Callable[[FakeCluster, str], None],
) -> None:
    step = Step()
    harm(step.cluster, STABLE)
    with pytest.raises(StableUnavailable, match=f"{STABLE} cannot take all .*so {CANARY} has 100 % of it"):
        bring(step)
    assert step.cluster.weights() == {STABLE: 0, CANARY: 100}


def test_where_both_can_take_nothing_all_goes_back_as_found() -> None:
    step = Step()
    lose(step.cluster, STABLE)
    lose(step.cluster, CANARY)
    assert bring(step) is Restored.DONE
    assert step.cluster.weights() == {STABLE: 1}


def test_before_the_first_weight_there_is_nothing_to_hold() -> None:
    step = Step()
    step.run.traffic.way_back.retreat("an alarm")
    lose(step.cluster, STABLE)
    assert bring(step) is Restored.DONE


@pytest.mark.parametrize(("lost", "kept"), [((2,), 34), ((1, 2), 50)])
def test_a_pool_that_lost_pods_gets_back_what_its_others_can_take(lost: tuple[int, ...], kept: int) -> None:
    step = Step()
    lose(step.cluster, STABLE, *lost)
    with pytest.raises(StableUnavailable, match=f"{CANARY} has {kept} % of it"):
        bring(step)
    assert step.cluster.weights() == {STABLE: 100 - kept, CANARY: kept}
    step.cluster.scale(STABLE, 3)
    assert bring(step) is Restored.DONE
    assert step.cluster.weights() == {STABLE: 1}


@pytest.mark.parametrize(("load", "restored"), [(60, True), (130, False)])
def test_what_is_in_flight_says_how_many_pods_take_all_of_it(load: float, restored: bool) -> None:
    step = Step(capacity={"per_pod": 64})
    step.prometheus.load = load
    lose(step.cluster, STABLE, 1, 2)
    if restored:
        assert bring(step) is Restored.DONE
    else:
        with pytest.raises(StableUnavailable):
            bring(step)


def test_where_nobody_knows_the_load_a_smaller_pool_is_waited_for_with_patience_only() -> None:
    step = Step()
    lose(step.cluster, STABLE, 1, 2)
    with pytest.raises(StableUnavailable):
        bring(step)
    assert bring(step, patient=False) is Restored.DONE
    assert step.cluster.weights() == {STABLE: 1}


def test_a_pool_without_pods_is_waited_for_without_end() -> None:
    step = Step()
    lose(step.cluster, STABLE)
    with pytest.raises(StableUnavailable):
        bring(step, patient=False)
    assert step.cluster.weights() == {STABLE: 0, CANARY: 100}


def test_what_waits_in_a_canary_that_hangs_keeps_nothing_there() -> None:
    step = Step(capacity={"per_pod": 64})
    step.prometheus.load = 5000.0
    assert bring(step) is Restored.DONE, "three pods carried everything before"


def test_a_canary_that_somebody_broke_keeps_nothing() -> None:
    step = Step()
    break_selector(step.cluster, CANARY)
    assert bring(step) is Restored.DONE
    assert step.cluster.weights() == {STABLE: 1}


@pytest.fixture
def refused_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.rollout.bring_back.REFUSAL_LASTS", 0.0)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Forbidden("GET", "/api/v1/pods", 403, "not synced yet"), StableUnavailable),
        (ClusterUnavailable("GET", "/api/v1/pods", 503, "starting"), ClusterUnavailable),
    ],
)
def test_one_refusal_sends_nothing_to_a_pool_without_pods_however_long_it_was_waited_for(
    error: ClusterUnavailable, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Step()
    lose(step.cluster, STABLE)
    with pytest.raises(StableUnavailable):
        bring(step, patient=False)
    select, errors = step.cluster.select, [error]

    def refused_once(*asked: Any) -> Any:
        if errors:
            raise errors.pop()
        return select(*asked)

    monkeypatch.setattr(step.cluster, "select", refused_once)
    with pytest.raises(raised):
        bring(step, patient=False)
    assert step.cluster.weights() == {STABLE: 0, CANARY: 100}


@pytest.mark.usefixtures("refused_for_good")
def test_pods_that_may_not_be_read_are_waited_for_with_patience_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right that was taken away may not come back."""
    step = Step()
    monkeypatch.setattr(step.cluster, "select", _forbidden)
    with pytest.raises(Forbidden):
        bring(step)
    assert [claim.phase for claim in step.run.traffic.claims()] == [Phase.RETURNING]
    assert step.cluster.weights() == {STABLE: 50, CANARY: 50}
    assert bring(step, patient=False) is Restored.DONE
    assert step.cluster.weights() == {STABLE: 1}


@pytest.mark.usefixtures("refused_for_good")
def test_a_guardian_is_as_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its patience begins with its first try, whatever that could do."""
    step, now = Step(), time.time()
    step.cluster.clock = lambda: now
    monkeypatch.setattr(step.cluster, "select", _forbidden)
    end = partial(end_by_claims, step.cluster, step.run.traffic.way_back, "nobody drove it", now)
    for later in (0.0, RETURN_PATIENCE - 1):
        step.cluster.clock = partial(add, now, later)
        with pytest.raises(Forbidden):
            end()
    step.cluster.clock = lambda: now + RETURN_PATIENCE + 1
    assert end() is Restored.DONE
    assert step.cluster.weights() == {STABLE: 1}


class TestWeightsThatOthersSet:
    """They stay as long as what they lead to can take it."""

    def drifted(self) -> Step:
        step = Step()
        step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7
        return step

    def test_what_they_give_to_a_canary_that_can_take_nothing_goes_back(self) -> None:
        step = self.drifted()
        with pytest.raises(RouteDrift):
            bring(step)
        assert step.cluster.weights() == {STABLE: 7, CANARY: 50}
        lose(step.cluster, CANARY)
        assert bring(step) is Restored.DONE
        assert set(step.cluster.weights()) == {STABLE}

    def test_what_they_give_to_a_stable_pool_that_can_take_nothing_goes_to_the_canary_for_the_time(
        self,
    ) -> None:
        step = self.drifted()
        lose(step.cluster, STABLE)
        with pytest.raises(StableUnavailable):
            bring(step)
        assert step.cluster.weights() == {STABLE: 0, CANARY: 100}
        step.cluster.scale(STABLE, 3)
        assert bring(step) is Restored.DONE
        assert step.cluster.weights() == {STABLE: 1}

    def test_where_they_give_stable_nothing_nothing_is_lost_and_they_stay(self) -> None:
        step = self.drifted()
        step.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 0
        lose(step.cluster, STABLE)
        with pytest.raises(RouteDrift):
            bring(step)
        assert step.cluster.weights() == {STABLE: 0, CANARY: 50}

    def test_where_both_can_take_nothing_they_stay(self) -> None:
        step = self.drifted()
        lose(step.cluster, STABLE)
        lose(step.cluster, CANARY)
        with pytest.raises(RouteDrift):
            bring(step)


class TestTheReflex:
    def alarmed(self, *lost: int) -> Step:
        step = Step()
        step.prometheus.failing[CANARY] = 0.2
        if lost:
            lose(step.cluster, STABLE, *lost)
        assert step.judged()["judgement"]["verdict"] == "rollback"
        return step

    def test_it_leaves_the_canary_what_stable_cannot_take(self) -> None:
        step = self.alarmed(2)
        assert step.cluster.weights() == {STABLE: 66, CANARY: 34}
        [claim] = step.run.traffic.claims()
        assert (claim.phase, claim.percent, claim.alarm) == (Phase.RETURNING, 34, True)
        assert "but 34 %, which stable cannot take" in step.cluster.told[-1]["message"]

    def test_the_rest_goes_back_as_stable_comes_back_whatever_others_put_beside(self) -> None:
        step = self.alarmed(1, 2)
        assert step.cluster.weights() == {STABLE: 50, CANARY: 50}
        refs = step.cluster.route["spec"]["rules"][0]["backendRefs"]
        refs[0]["weight"] = 90
        refs.append(ref("theirs", 10))
        step.cluster.scale(STABLE, 2)
        with pytest.raises(StableUnavailable):
            bring(step)
        assert step.cluster.weights() == {STABLE: 92, CANARY: 48, "theirs": 10}
        step.cluster.scale(STABLE, 3)
        assert bring(step) is Restored.DONE
        assert step.cluster.weights() == {STABLE: 140, "theirs": 10}
        assert step.cluster.ending() is Ending.RESTORED

    def test_a_cluster_that_does_not_say_keeps_no_traffic_on_a_bad_canary(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step = Step()
        step.prometheus.failing[CANARY] = 0.2
        monkeypatch.setattr(step.cluster, "select", _silent)
        assert step.judged()["judgement"]["verdict"] == "rollback"
        assert step.cluster.weights() == {STABLE: 1, CANARY: 0}


class TestSize:
    """An autoscaler made stable smaller while the canary had traffic."""

    def shrunk(self, *, ours: bool) -> Step:
        step = Step()
        step.cluster.scale(STABLE, 1)
        if ours:
            labels = owner_labels(step.run.plan.name, STABLE)
            step.cluster.objects["Deployment", STABLE]["metadata"]["labels"] = labels
        return step

    def test_what_a_rollout_created_is_brought_back_to_its_size_first(self) -> None:
        step = self.shrunk(ours=True)
        with pytest.raises(StableUnavailable):
            bring(step)
        assert step.cluster.objects["Deployment", STABLE]["spec"]["replicas"] == 3
        assert bring(step) is Restored.DONE, "its pods are ready now"
        assert "from 1 to 3 pods" in next(
            e["message"] for e in step.cluster.told if e["reason"] == "ScaledUp"
        )

    def test_what_others_created_is_theirs_to_scale(self) -> None:
        step = self.shrunk(ours=False)
        with pytest.raises(StableUnavailable):
            bring(step)
        assert step.cluster.objects["Deployment", STABLE]["spec"]["replicas"] == 1

    def test_where_it_may_not_be_scaled_traffic_goes_back_in_steps(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        step, patch = self.shrunk(ours=True), FakeCluster.patch

        def forbidden(self: FakeCluster, api: str, kind: str, *rest: object) -> object:
            if kind == "Deployment":
                raise PermissionError("403")
            return patch(self, api, kind, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(FakeCluster, "patch", forbidden)
        with pytest.raises(StableUnavailable):
            bring(step)
        assert step.cluster.weights() == {STABLE: 50, CANARY: 50}


def _forbidden(*_: object) -> object:
    raise Forbidden("GET", "/api/v1/pods", 403, "pods is forbidden")


def _silent(*_: object) -> object:
    raise ConnectionError("reset")
