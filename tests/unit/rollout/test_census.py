"""What a guardian sees of rollouts, for metrics and for people."""

from __future__ import annotations

from inference_rollouts.core.plan.notifications import Occasion
from inference_rollouts.core.reporting.series import Reason
from inference_rollouts.core.routing.claim import CLAIM
from inference_rollouts.rollout.census import Census
from inference_rollouts.rollout.guarded import guarded
from inference_rollouts.rollout.guardian import Guardian, Round
from tests.support.steps import Step

LONG = 3600.0


class Scene:
    """A canary with 50 %, and a guardian in its time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = Step(self.now, clock=lambda: self.now)
        self.cluster = self.step.cluster
        self.guardian = Guardian(self.cluster, None, "guardian a")

    def after(self, seconds: float) -> Round:
        self.now += seconds
        return self.guardian.round()


def told(seen: Round) -> list[Occasion]:
    return [transition.occasion for transition in guarded(seen)]


def test_a_rollout_in_flight_is_read_with_its_judge() -> None:
    scene = Scene()
    scene.step.judged()
    [reading] = scene.after(1).readings
    assert (reading.plan, reading.kind, reading.namespace) == ("llm", "base-model", "default")
    assert (reading.percent, reading.unwatched) == (50, 0.0)
    assert reading.progress is not None
    assert reading.progress.verdict
    assert {each.metric for each in reading.progress.metrics} >= {"errors"}
    assert told(scene.after(1)) == []


def test_one_that_nobody_watches_is_told_of_until_somebody_does() -> None:
    scene = Scene()
    seen = scene.after(60)
    assert seen.readings[0].unwatched
    [transition] = guarded(seen)
    assert (transition.occasion, transition.step) == (Occasion.UNWATCHED, 1)
    assert transition.id == next(guarded(scene.after(1))).id


def test_how_one_ended_that_is_still_looked_after_is_not_said_before_it_is_known() -> None:
    scene, census = Scene(), Census()
    [claim] = scene.step.run.traffic.claims()
    known = {claim.token: (claim, "default")}
    census.take(known, ())
    scene.step.run.traffic.way_back.restore("a storm", scene.now)
    left = [scene.cluster.route]
    assert census.take({}, left, unknown=known) == ()
    census.ended(claim.token, alarm=True)
    assert [closed.reason for closed in census.take({}, left)] == [Reason.ALARM]
    assert census.take({}, left) == ()


def test_an_end_is_counted_once_whoever_came_to_it() -> None:
    scene = Scene()
    assert scene.after(1).closed == ()
    scene.step.run.traffic.way_back.restore("somebody wanted it", scene.now)
    [closed] = scene.after(1).closed
    assert (closed.outcome, closed.reason) == ("rolled-back", Reason.OTHER)
    assert closed.seconds is not None
    assert closed.common == {"plan": "llm", "kind": "base-model", "namespace": "default"}
    assert scene.after(1).closed == ()


def test_an_alarm_is_a_reason_and_so_is_that_nobody_drove_it() -> None:
    scene = Scene()
    scene.after(1)
    scene.step.run.traffic.way_back.retreat("an alarm")
    scene.after(1)
    ended = scene.after(LONG)
    assert told(ended) == [Occasion.ROLLED_BACK]
    assert [closed.reason for closed in scene.after(1).closed] == [Reason.ALARM]

    abandoned = Scene()
    abandoned.after(1)
    assert Occasion.ROLLED_BACK in told(abandoned.after(LONG))
    assert [closed.reason for closed in abandoned.after(1).closed] == [Reason.ABANDONED]


def test_a_claim_that_somebody_removed_is_let_go() -> None:
    scene = Scene()
    scene.after(1)
    del scene.cluster.route["metadata"]["annotations"][CLAIM]
    assert [closed.outcome for closed in scene.after(1).closed] == ["let-go"]
