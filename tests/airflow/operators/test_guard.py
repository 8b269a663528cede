"""The guardian as a task: what it ends, it announces."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from inference_rollouts.core.limits import LEASE_SECONDS
from inference_rollouts.guardian_dag import build_guardian_dag
from inference_rollouts.operators.guard import WATCH, Guard
from inference_rollouts.rollout.guardian import Ended
from inference_rollouts.rollout.way_back import Restored
from inference_rollouts.triggers.guard import GuardTrigger
from tests.support.airflow import event_of, use
from tests.support.plans import CANARY, STABLE, food_review_plan, llm_plan
from tests.support.steps import Step

PLACE = {"kubernetes": "kubernetes_default", "prometheus": "prometheus_default", "namespace": "default"}


def test_it_watches_every_cluster_and_namespace_of_the_plans_once() -> None:
    dag = build_guardian_dag([llm_plan(), food_review_plan(), llm_plan(name="shop", namespace="shop")])
    task: Any = dag.task_dict["guard"]
    assert task.places == [PLACE, PLACE | {"namespace": "shop"}]
    assert (dag.max_active_runs, dag.is_paused_upon_creation) == (1, True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    assert isinstance(deferred.value.trigger, GuardTrigger)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Step:
    """A rollout that an alarm has ended, and nobody finished it."""
    step = Step()
    step.run.traffic.way_back.retreat("an alarm")
    step.cluster.clock = lambda: time.time() + LEASE_SECONDS + 1
    use(step.run.clients, monkeypatch)
    return step


def test_the_trigger_ends_with_what_it_ended(step: Step) -> None:
    [ended] = event_of(GuardTrigger(places=[PLACE], deadline=step.cluster.time() + 60))["ended"]
    assert (ended["plan"], ended["stable"], ended["canary"], ended["how"]) == ("llm", STABLE, CANARY, "done")
    assert step.cluster.weights() == {STABLE: 1}


class Place:
    """A guardian of a place that has a name, by the clock of this machine."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cluster = SimpleNamespace(time=time.time)


def test_a_place_that_hangs_holds_no_other_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference_rollouts.triggers.guard.GUARDIAN_POLL", 0.01)
    over, rounds = threading.Event(), []

    def round_(self: GuardTrigger, guardian: Place) -> tuple[()]:
        if guardian.name == "hangs":
            assert over.wait(60), "until the other has looked three times"
        rounds.append(guardian.name)
        if len(rounds) == 3:
            self.deadline = 0.0
            over.set()
        return ()

    monkeypatch.setattr(GuardTrigger, "_guardian", lambda _, place: Place(place["namespace"]))
    monkeypatch.setattr(GuardTrigger, "_round", round_)
    places = [PLACE | {"namespace": name} for name in ("hangs", "well")]
    assert event_of(GuardTrigger(places=places, deadline=time.time() + 60)) == {"ended": []}
    assert rounds[:3] == ["well"] * 3


def ended(name: str) -> tuple[Ended, ...]:
    claim: Any = SimpleNamespace(plan=name, owner=SimpleNamespace(run="r"), stable="old", canary="new")
    return (Ended(claim, Restored.DONE, "why"),)


class Places:
    """`ends` ends something in its first round, `hangs` in its only one, which lasts until it goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on, self.rounds = threading.Event(), Counter[str]()
        monkeypatch.setattr("inference_rollouts.triggers.guard.GUARDIAN_POLL", 0.01)
        monkeypatch.setattr(GuardTrigger, "_guardian", lambda _, place: Place(place["namespace"]))
        monkeypatch.setattr(GuardTrigger, "_round", lambda _, guardian: self.round(guardian.name))

    def round(self, guardian: str) -> tuple[Ended, ...]:
        self.rounds[guardian] += 1
        if guardian == "hangs":
            assert self.goes_on.wait(60)
        if self.rounds["well"] == 5:
            self.goes_on.set()
        return ended(guardian) if guardian in ("ends", "hangs") and self.rounds[guardian] == 1 else ()

    def event(self, *names: str) -> Any:
        places = [PLACE | {"namespace": name} for name in names]
        found = event_of(GuardTrigger(places=places, deadline=time.time() + 60))["ended"]
        return [each["plan"] for each in found]


def test_while_a_slow_place_is_waited_for_the_others_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(monkeypatch)
    assert places.event("hangs", "ends", "well") == ["ends", "hangs"]
    assert places.rounds["well"] >= 5


def test_a_place_that_hangs_keeps_back_what_others_ended_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = Places(monkeypatch)
    monkeypatch.setattr("inference_rollouts.triggers.guard.LAST_WORD", 0.2)
    try:
        assert places.event("hangs", "ends") == ["ends"]
    finally:
        places.goes_on.set()


def test_and_with_nothing_at_its_deadline_whatever_the_cluster_says(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(step.cluster, "select", refused)
    assert event_of(GuardTrigger(places=[PLACE], deadline=step.cluster.time())) == {"ended": []}


def test_its_deadline_is_one_of_the_clock_that_all_have_in_common(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours ahead of ours: by our own it would watch for three."""
    step.cluster.clock = lambda: time.time() + 7200
    task: Any = build_guardian_dag([llm_plan()]).task_dict["guard"]
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})
    trigger: Any = deferred.value.trigger
    assert trigger.deadline == pytest.approx(time.time() + 7200 + WATCH, abs=60)
    monkeypatch.setattr(GuardTrigger, "_round", lambda *_: ())
    assert event_of(GuardTrigger(places=[PLACE], deadline=time.time() + 7199)) == {"ended": []}


@pytest.mark.parametrize(
    ("how", "asset", "name"), [("done", "rolled-back", "new"), ("promoted", "promoted", "old")]
)
def test_the_end_is_announced_where_somebody_may_wait_for_it(how: str, asset: str, name: str) -> None:
    told: list[tuple[str, str]] = []

    class Outlet:
        def add(self, asset: Any, extra: dict[str, Any]) -> None:
            told.append((asset.name.rpartition("/")[2], extra["name"]))

    class Outlets:
        def __getitem__(self, alias: Any) -> Outlet:
            assert alias.name == "inference-rollouts/llm/ended"
            return Outlet()

    context: Any = {
        "outlet_events": Outlets(),
        "dag_run": SimpleNamespace(dag_id="guardian_of_rollouts", run_id="r"),
    }
    end = {"plan": "llm", "run": "rollout_llm/r1", "stable": "old", "canary": "new", "how": how, "why": "why"}
    task = Guard(task_id="guard", places=[PLACE], plans=["llm"])
    assert task.seen(context, {"ended": [end, end | {"plan": "gone"}]})
    assert told == [(asset, name)]
