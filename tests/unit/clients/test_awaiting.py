"""What nothing interrupts is waited for within a limit, and costs one thread while it hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference_rollouts.clients.awaiting import OneAtATime, within
from tests.support.stopwatch import ends_within

LIMIT = 0.1


@pytest.fixture
def over() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_what_it_returns_or_raises_comes_out() -> None:
    assert within(60, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(60, lambda: 1 // 0)


def test_what_hangs_is_left_to_itself(over: threading.Event) -> None:
    with ends_within(10 * LIMIT), pytest.raises(TimeoutError):
        within(LIMIT, over.wait)


def test_where_no_thread_can_be_started_the_next_who_comes_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    shared = OneAtATime(lambda: 7)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError):
            shared.result(LIMIT)
    assert shared.result(60) == 7


def test_whoever_comes_while_it_hangs_waits_for_the_same_run(over: threading.Event) -> None:
    runs: list[int] = []

    def hang() -> int:
        runs.append(len(runs))
        over.wait()
        return len(runs)

    shared = OneAtATime(hang)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            shared.result(LIMIT)
    assert runs == [0]
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(shared.result, 60) for _ in range(4)]
        over.set()
        assert [each.result() for each in waiting] == [1] * 4
    assert shared.result(60) == 2, "the next one runs anew"
