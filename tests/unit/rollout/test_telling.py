"""Telling: each receiver each message once, whoever dies, fails or hangs."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.clients.webhook import Receiver, post
from inference_rollouts.core.limits import TELLING_FORGOTTEN
from inference_rollouts.core.plan.notifications import Means, Notification, Occasion
from inference_rollouts.core.reporting.told import Mark, is_due
from inference_rollouts.core.reporting.transition import Transition, of_claim
from inference_rollouts.rollout.telling import _tell, deliver, insist
from tests.support.receiver import receiving
from tests.support.steps import Step
from tests.support.stopwatch import ends_within

CLAIM = Step().run.traffic.claims()[0]
HOOKS = Notification(by=Means.WEBHOOK, connection="hooks")
PAGER = Notification(by=Means.PAGERDUTY, connection="pager", of=(Occasion.ALARM,))


def transition(occasion: Occasion, step: int = 1) -> Transition:
    return of_claim(CLAIM.with_(step=step), "default", occasion, "why")


RAISED, ALARM = transition(Occasion.RAISED), transition(Occasion.ALARM)


class Died(BaseException):
    """The process of who tells is killed."""


@dataclass
class World:
    """Marks that outlive who sets them, receivers, and a clock."""

    marks: dict[str, Mark] = field(default_factory=dict)
    took: list[tuple[str, str]] = field(default_factory=list)
    now: float = 1000.0
    fails: bool = False

    def get(self, name: str) -> Mark | None:
        return self.marks.get(name)

    def set(self, name: str, mark: Mark) -> None:
        self.marks[name] = mark

    def send(self, notification: Notification, transition: Transition) -> None:
        if self.fails:
            raise ConnectionError("refused")
        self.took.append((notification.connection, transition.id))

    def tell(self, *told: Transition, by: tuple[Notification, ...] = (HOOKS, PAGER)) -> None:
        deliver(told, by, self, self.send, lambda: self.now)


def test_each_receiver_hears_of_what_it_asked_for_once() -> None:
    world = World()
    for _ in range(3):
        world.tell(RAISED, ALARM)
        world.now += 2 * TELLING_FORGOTTEN
    assert sorted(world.took) == [("hooks", ALARM.id), ("hooks", RAISED.id), ("pager", ALARM.id)]


def test_what_was_not_taken_is_told_later_and_in_order() -> None:
    world = World(fails=True)
    world.tell(RAISED, by=(HOOKS,))
    world.fails = False
    world.tell(RAISED, ALARM, by=(HOOKS,))
    assert world.took == [("hooks", ALARM.id)], "somebody may be telling of the raise this very moment"
    world.now += TELLING_FORGOTTEN + 1
    world.tell(RAISED, ALARM, by=(HOOKS,))
    assert world.took == [("hooks", ALARM.id), ("hooks", RAISED.id)]


def test_what_comes_after_a_failure_waits_with_it() -> None:
    world = World(fails=True)
    world.tell(RAISED, ALARM, by=(HOOKS,))
    assert list(world.marks) == ["told.raised.1.0"]


@given(st.lists(st.sampled_from(["told", "refused", "killed before", "killed after"]), max_size=8))
def test_whoever_dies_each_transition_is_taken_and_twice_only_if_nobody_could_know(fates: list[str]) -> None:
    world = World()
    for fate in [*fates, "told"]:

        def send(notification: Notification, transition: Transition, fate: str = fate) -> None:
            if fate == "refused":
                raise ConnectionError
            if fate == "killed before":
                raise Died
            world.send(notification, transition)
            if fate == "killed after":
                raise Died

        world.now += TELLING_FORGOTTEN + 1
        _in_a_process_of_its_own(world, send)
    could_not_know = fates[: fates.index("told")] if "told" in fates else fates
    assert world.took == [("hooks", RAISED.id)] * (1 + could_not_know.count("killed after"))


def _in_a_process_of_its_own(world: World, send: object) -> None:
    """As `deliver` does it for one receiver, without the thread, in which a death would be printed."""
    with contextlib.suppress(Died, ConnectionError):
        _tell(HOOKS, [("told.raised.1.0", RAISED)], world, send, lambda: world.now)  # type: ignore[arg-type]


def test_what_no_later_task_would_tell_is_tried_again_for_a_while() -> None:
    world = World(fails=True)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.marks.clear()  # as if so long had passed
        world.fails = len(slept) < 3

    insist([RAISED], [HOOKS], world, world.send, sleep)
    assert world.took == [("hooks", RAISED.id)]
    assert slept == [TELLING_FORGOTTEN + 1] * 3


def test_two_who_tell_at_once_do_not_both_send() -> None:
    mark = Mark(at=1000.0)
    assert not is_due(mark, 1000.0 + TELLING_FORGOTTEN)
    assert is_due(mark, 1000.1 + TELLING_FORGOTTEN)
    assert not is_due(Mark(at=0.0, taken=True), 1e9)


@pytest.mark.parametrize("hanging", [False, True])
def test_a_receiver_that_hangs_or_fails_delays_nobody(hanging: bool) -> None:
    """A real one, on a port of its own, beside one that answers."""
    world = World()
    with receiving() as bad, receiving() as good:
        bad.hangs, bad.status = hanging, 500
        receivers = {"hooks": Receiver(bad.url), "other": Receiver(good.url)}

        def send(notification: Notification, transition: Transition) -> None:
            post(receivers[notification.connection], transition.cloud_event(world.now), 30.0)

        other = HOOKS.model_copy(update={"connection": "other"})
        with ends_within(20):  # two seconds, on however busy a machine
            deliver([RAISED, ALARM], [HOOKS, other], world, send, lambda: world.now, patience=2.0)
        assert bad.came.is_set()
        assert good.occasions == ["raised", "alarm"]
        assert [name for name, mark in world.marks.items() if not mark.taken] == ["told.raised.1.0"]
        bad.let_go.set()
    _gone("awaited")


def _gone(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(30)
