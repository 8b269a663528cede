"""Answers that are made once for however many ask, and that nobody is given when they are long past."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from inference_rollouts.console.kept import STALE, Kept

FRESH = 2.0


@dataclass
class Asked:
    """A source that counts how often it was asked, and a clock that is set by hand."""

    now: float = 0.0
    times: int = 0
    broken: bool = False
    kept: Kept[int] = field(init=False)

    def __post_init__(self) -> None:
        self.kept = Kept(FRESH, workers=1, patience=10.0, now=lambda: self.now)

    def make(self) -> int:
        self.times += 1
        if self.broken:
            raise ConnectionError("nobody answers")
        return self.times

    def get(self) -> int:
        return self.kept.get("it", self.make)

    def settle(self) -> None:
        """Return when what was asked for is answered: the only worker has come to something else."""
        done: Future[int] = Future()
        self.kept._pool.submit(lambda: done.set_result(0))
        done.result(10)


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_a_fresh_answer_is_given_to_all(asked: Asked) -> None:
    assert [asked.get(), asked.get()] == [1, 1]


def test_an_older_one_is_given_while_the_next_is_made(asked: Asked) -> None:
    asked.get()
    asked.now += FRESH
    assert asked.get() == 1
    asked.settle()
    assert asked.get() == 2
    assert asked.times == 2


def test_nobody_is_told_what_is_long_past(asked: Asked) -> None:
    """Who looks again after minutes would else see the rollout where it stood then."""
    asked.get()
    asked.now += STALE
    assert asked.get() == 2


def test_an_answer_is_as_old_as_itself_not_as_the_next(asked: Asked) -> None:
    """While the source hangs its last answer gets old, and is then given no more."""
    asked.get()
    hangs = threading.Event()
    asked.now += FRESH
    kept = asked.kept
    assert kept.get("it", lambda: 7 * hangs.wait(10)) == 1
    asked.now += STALE - FRESH
    kept._patience = 0.01
    with pytest.raises(TimeoutError):
        asked.get()
    hangs.set()
    asked.settle()
    kept._patience = 10.0
    assert asked.get() == 7


def test_what_others_are_made_of_is_waited_for(asked: Asked) -> None:
    asked.kept._waits = 10.0
    assert asked.get() == 1
    asked.now += FRESH
    assert asked.get() == 2


def test_what_is_too_slow_for_them_is_given_as_it_was(asked: Asked) -> None:
    asked.get()
    hangs = threading.Event()
    asked.kept._waits = 0.01
    asked.now += FRESH
    assert asked.kept.get("it", lambda: 7 * hangs.wait(10)) == 1
    hangs.set()


def test_what_is_forgotten_is_asked_anew(asked: Asked) -> None:
    asked.get()
    asked.kept.forget("it")
    assert asked.get() == 2


def test_a_failure_is_told_while_it_is_fresh_and_then_asked_again(asked: Asked) -> None:
    asked.broken = True
    for _ in range(2):
        with pytest.raises(ConnectionError):
            asked.get()
    assert asked.times == 1
    asked.broken = False
    asked.now += FRESH
    assert asked.get() == 2


def test_a_renewal_that_fails_takes_the_place_of_the_answer(asked: Asked) -> None:
    asked.get()
    asked.broken = True
    asked.now += FRESH
    assert asked.get() == 1
    asked.settle()
    with pytest.raises(ConnectionError):
        asked.get()


def test_only_the_latest_are_kept() -> None:
    kept: Kept[str] = Kept(FRESH, most=2, now=lambda: 0.0)
    for key in ("a", "b", "c"):
        kept.get(key, lambda: "first")
    assert [kept.get(key, lambda: "again") for key in ("c", "a")] == ["first", "again"]


def test_one_that_hangs_holds_up_no_other() -> None:
    kept: Kept[str] = Kept(FRESH, patience=10.0)
    hangs = threading.Event()
    try:
        for key in range(32):
            kept.begin(key, lambda: str(hangs.wait(10)))
        assert kept.get("another", lambda: "at once") == "at once"
    finally:
        hangs.set()


def test_who_comes_late_waits_no_longer_than_who_asked(asked: Asked) -> None:
    hangs = threading.Event()
    asked.kept.begin("it", lambda: 7 * hangs.wait(1.0))
    asked.now += 10.0
    with pytest.raises(TimeoutError):
        asked.get()
    hangs.set()


def test_what_nobody_is_told_any_more_is_not_kept(asked: Asked) -> None:
    """Whole runs, with records of several MB, would else stay until 256 others were looked at."""
    asked.get()
    asked.now += STALE
    asked.kept.get("another", asked.make)
    assert list(asked.kept._entries) == ["another"]
