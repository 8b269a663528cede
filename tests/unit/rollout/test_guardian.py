"""The guardian: it watches what nobody watches, ends what nobody drives, and leaves all else alone."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from inference_rollouts.core.limits import RETURN_PATIENCE
from inference_rollouts.core.reporting.series import Reason
from inference_rollouts.core.routing.claim import CLAIM, Ending, Phase, read_ending
from inference_rollouts.kinds import kind_of
from inference_rollouts.rollout.guardian import Guardian, Round
from inference_rollouts.rollout.watching import Watcher
from inference_rollouts.rollout.way_back import Restored
from tests.support.fake_cluster import FakeCluster
from tests.support.foreign_storm import storm_elsewhere
from tests.support.guardian_scene import LEASE_SECONDS, Scene
from tests.support.plans import CANARY, STABLE, llm_plan
from tests.support.routes import ref
from tests.support.steps import Step


def test_what_somebody_watches_is_left_alone() -> None:
    scene = Scene()
    before = len(scene.cluster.writes)
    assert scene.after(LEASE_SECONDS - 1) == Round(rollouts=1)
    assert len(scene.cluster.writes) == before
    assert scene.holder
    assert scene.holder.startswith("task ")


def test_what_nobody_watches_any_more_it_watches_and_says_so() -> None:
    scene = Scene()
    seen = scene.after(LEASE_SECONDS + 3)
    assert (seen.watching, seen.unwatched, seen.ended) == (1, 3.0, ())
    assert scene.holder == "guardian a"
    assert scene.cluster.events[-1] == "WatchTaken"
    assert scene.after(5).watching == 1
    assert scene.cluster.events.count("WatchTaken") == 1
    assert scene.cluster.weights() == {STABLE: 50, CANARY: 50}


def test_a_storm_in_another_cluster_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pools with the same names, that write into the same store."""
    scene = Scene()
    storm_elsewhere(monkeypatch, scene.prometheus, CANARY)
    scene.after(LEASE_SECONDS + 1)
    for _ in range(3):
        assert not scene.after(10).ended
    assert scene.cluster.weights()[CANARY] == 50


def test_a_writer_whose_clock_was_ahead_does_not_keep_it_from_seeing_a_storm() -> None:
    scene = Scene(ahead=600)
    scene.prometheus.failing[CANARY] = 1.0
    assert scene.after(LEASE_SECONDS + 1).watching == 1
    assert any(scene.after(5).ended for _ in range(6))
    assert scene.as_found


def test_a_storm_ends_it() -> None:
    scene = Scene()
    scene.after(LEASE_SECONDS + 1)
    scene.prometheus.failing[CANARY] = 1.0
    [ended] = scene.after(10).ended
    assert ended.how is Restored.DONE
    assert scene.as_found
    told = [event["message"] for event in scene.cluster.told if event["reason"] == "CanaryAlarm"]
    assert "storm of" in told[0]
    assert "guardian a" in told[0]
    last = read_ending(scene.cluster.route)
    assert last
    assert "storm of" in last.why, "a run that goes on reads it there"
    assert scene.holder is None, "the lease of what has ended is gone"


def test_a_canary_without_pods_ends_it_at_once_and_one_with_pods_is_kept() -> None:
    scene = Scene()
    assert not scene.after(LEASE_SECONDS + 1).ended
    scene.cluster.scale(CANARY, 0)
    assert scene.after(5).ended
    assert scene.as_found


def test_what_the_cluster_alone_shows_waits_for_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.after(LEASE_SECONDS + 1)
    monkeypatch.setattr(scene.prometheus, "query", lambda *_: pytest.fail("it waits for the store"))
    scene.cluster.scale(CANARY, 0)
    assert scene.after(10).ended


def test_a_backend_that_no_gateway_finds_any_more_ends_it() -> None:
    scene = Scene()
    scene.after(LEASE_SECONDS + 1)
    lost = {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound", "observedGeneration": 99}
    scene.cluster.route["status"]["parents"][0]["conditions"][1] = lost
    assert scene.after(5).ended


def test_where_only_the_canary_serves_an_alarm_moves_nothing() -> None:
    scene = Scene()
    scene.after(LEASE_SECONDS + 1)
    scene.cluster.scale(STABLE, 0)
    scene.prometheus.failing[CANARY] = 1.0
    assert not scene.after(5).ended
    assert scene.cluster.weights() == {STABLE: 50, CANARY: 50}


def test_weights_that_others_set_are_left_and_told_once() -> None:
    scene = Scene()
    scene.cluster.route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 7
    for _ in range(3):
        assert not scene.after(3600).ended
    assert scene.cluster.weights() == {STABLE: 7, CANARY: 50}
    [told] = [event["message"] for event in scene.cluster.told if event["reason"] == "RolloutStuck"]
    assert "was changed by" in told


@pytest.mark.parametrize("upto", [0, 1])
def test_weights_that_others_set_are_watched_as_long_as_they_stand(upto: int) -> None:
    """It cannot end the rollout, and nobody else sees what becomes of what the canary gets."""
    scene = Scene(upto=upto)
    for each in scene.cluster.route["spec"]["rules"][0]["backendRefs"]:
        each["weight"] = 40
    assert not scene.after(7200).ended
    scene.prometheus.failing[CANARY] = 1.0
    [ended] = [ended for _ in range(6) for ended in scene.after(5).ended]
    assert "storm of" in ended.why
    assert ended.alarm
    assert set(scene.cluster.weights()) == {STABLE}
    assert CLAIM not in scene.cluster.notes()


def test_a_store_that_does_not_answer_is_no_alarm() -> None:
    scene = Scene()
    scene.prometheus.down = True
    scene.prometheus.failing[CANARY] = 1.0
    assert not scene.after(LEASE_SECONDS + 10).ended


def test_what_nobody_drives_any_more_goes_back_however_it_is_watched() -> None:
    scene = Scene()
    due = scene.claim().next_move_by + scene.claim().abandon_after
    Watcher(scene.cluster, "triggerer").renew([scene.cluster.route], scene.step.run.frozen.token)
    assert not scene.after(due - scene.now - 1).ended
    Watcher(scene.cluster, "triggerer").renew([scene.cluster.route], scene.step.run.frozen.token)
    [ended] = scene.after(2).ended
    assert "its next move was due 5m" in ended.why
    assert scene.as_found
    assert scene.cluster.ending() is Ending.RESTORED


def test_what_somebody_drives_on_while_it_looks_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has seen that nobody does, and hangs; or its cluster is slow."""
    scene, take = Scene(), Guardian._take

    def slow(*of: Any) -> bool:
        scene.step.run.traffic.wait(60.0)
        return take(*of)

    monkeypatch.setattr(Guardian, "_take", slow)
    assert not scene.after(3600).ended
    assert scene.cluster.weights() == {STABLE: 50, CANARY: 50}


def test_what_a_person_is_waited_for_is_not_abandoned_meanwhile() -> None:
    scene = Scene()
    scene.step.run.traffic.wait(12 * 3600)
    assert not scene.after(11 * 3600).ended
    assert scene.after(3600 + 301).ended


def test_what_was_taken_over_and_left_is_finished() -> None:
    scene = Scene()
    scene.step.run.traffic.way_back.retreat("an alarm")
    assert not scene.after(1).ended, "whoever did that may finish it"
    [ended] = scene.after(LEASE_SECONDS).ended
    assert "after an alarm" in ended.why
    assert scene.as_found


def test_a_rollback_that_still_tries_is_left_alone() -> None:
    scene = Scene()
    scene.step.run.traffic.way_back.retreat("an alarm")
    for _ in range(30):
        scene.now += 15
        scene.step.run.traffic.way_back.watch("rollback")
        assert not scene.after(1).ended


def test_stable_is_waited_for_on_the_way_back_and_not_for_ever_where_nobody_knows_the_load() -> None:
    scene = Scene()
    scene.step.run.traffic.way_back.retreat("an alarm", 50)
    scene.cluster.scale(STABLE, 1)
    assert not scene.after(LEASE_SECONDS + 1).ended
    assert scene.cluster.weights() == {STABLE: 50, CANARY: 50}
    assert scene.after(RETURN_PATIENCE).ended
    assert scene.as_found


def test_before_the_first_weight_there_is_nothing_to_watch_and_somebody_to_drive() -> None:
    scene = Scene(upto=0)
    scene.prometheus.failing[CANARY] = 1.0
    assert not scene.after(60).ended
    assert scene.after(3600).ended
    assert scene.as_found


def test_an_unreadable_claim_is_told_once_and_keeps_nobody_else_from_being_watched() -> None:
    scene = Scene()
    other = scene.cluster.put_route("other", [{"name": STABLE}])
    other["metadata"]["annotations"] = {CLAIM: "{}"}
    for _ in range(3):
        assert scene.after(LEASE_SECONDS + 1).watching == 1
    assert scene.cluster.events.count("ClaimUnreadable") == 1


def test_a_claim_of_an_older_version_is_watched_and_ended_too() -> None:
    scene = Scene()
    annotations = scene.cluster.route["metadata"]["annotations"]
    annotations[CLAIM] = scene.claim().with_(guard=None).to_json()
    assert scene.after(LEASE_SECONDS + 1).watching == 1
    scene.step.run.traffic.way_back.retreat("an alarm")
    assert scene.claim().phase is Phase.RETURNING
    assert scene.after(5).ended


class Two:
    """Two rollouts that an alarm has ended and nobody finished, of which the first route's writes hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.step = Step(clock=lambda: self.now, before=self.put_second)
        self.cluster, self.goes_on = self.step.cluster, threading.Event()
        self.claim_second()
        self.step.run.traffic.way_back.retreat("an alarm")
        self.now += LEASE_SECONDS + 1
        self.guardian = Guardian(self.cluster, None, "guardian", patience=5.0)
        patch = self.cluster.patch

        def hangs(api: str, kind: str, name: str, changes: Any) -> Any:
            assert name != "routes-to-llm" or self.goes_on.wait(60)
            return patch(api, kind, name, changes)

        monkeypatch.setattr(self.cluster, "patch", hangs)

    def put_second(self, cluster: FakeCluster) -> None:
        cluster.put_route("second", [ref(STABLE)])

    def claim_second(self) -> None:
        plan = llm_plan(name="other", routes=[{"name": "second"}])
        targets = (replace(self.step.run.frozen.targets[0], name="second"),)
        frozen = replace(self.step.run.frozen, token="other", plan=plan, targets=targets)
        run = replace(self.step.run, frozen=frozen, kind=kind_of(plan))
        run.attach()
        run.traffic.way_back.retreat("an alarm")


def test_one_that_hangs_holds_up_no_other_and_no_round_and_its_end_is_told_when_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = Two(monkeypatch)
    try:
        seen = two.guardian.round()
        assert [ended.claim.plan for ended in seen.ended] == ["other"]
        assert (seen.rollouts, seen.watching) == (2, 1)
        assert CLAIM not in two.cluster.notes(name="second")
        assert two.guardian.round() == Round(rollouts=1)
    finally:
        two.goes_on.set()
    rounds = [two.guardian.round()]
    while not rounds[-1].ended:
        rounds.append(two.guardian.round())
    assert [ended.claim.plan for ended in rounds[-1].ended] == ["llm"]
    rounds.append(two.guardian.round())
    assert [closed.reason for each in rounds for closed in each.closed] == [Reason.ALARM]
    assert CLAIM not in two.cluster.notes()
