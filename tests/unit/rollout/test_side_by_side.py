"""Many that are done side by side, round after round."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial

from inference_rollouts.rollout.side_by_side import SideBySide


def test_what_hangs_is_in_no_answer_until_it_has_ended_and_is_not_begun_twice() -> None:
    goes_on, begun = threading.Event(), list[str]()

    def act(name: str) -> str:
        begun.append(name)
        assert name != "hangs" or goes_on.wait(60)
        return name

    acts = {name: partial(act, name) for name in ("hangs", "well")}
    rounds: SideBySide[str] = SideBySide(8, 60, partial(wait, return_when=FIRST_COMPLETED))
    try:
        assert rounds.round(acts) == {"well": "well"}
        assert rounds.round(acts) == {"well": "well"}
        assert begun.count("hangs") == 1
        assert rounds.running == {"hangs"}
    finally:
        goes_on.set()
    while rounds.running:
        answer = rounds.round({"well": acts["well"]})
    assert answer["hangs"] == "hangs"


def test_what_no_thread_was_left_for_comes_first_in_the_next_round() -> None:
    goes_on, begun, one = threading.Event(), list[str](), threading.Semaphore(0)

    def slow(name: str) -> None:
        begun.append(name)
        one.release()
        goes_on.wait(60)

    acts: dict[str, Callable[[], None]] = {name: partial(slow, name) for name in "abcd"}
    rounds: SideBySide[None] = SideBySide(1, 60, lambda _, patience: one.acquire(timeout=patience))
    try:
        for looked_at in range(1, 5):
            assert rounds.round(acts) == {}
            assert len(set(begun)) == looked_at
    finally:
        goes_on.set()
    assert SideBySide[None](1, math.inf).round(acts) == dict.fromkeys("abcd")
