"""Waiting for what has no limit of its own: a resolver, a plugin that gets a token, a storage's library."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class OneAtATime(Generic[T]):
    """Runs `act`, which nothing interrupts, once at a time. Safe to use from threads.

    Who waits in vain leaves it to itself, and who comes meanwhile waits for the same run: what hangs costs
    one thread, however many ask for it.
    """

    def __init__(self, act: Callable[[], T]) -> None:
        self._act = act
        self._lock = threading.Lock()
        self._running: Future[T] | None = None

    def result(self, seconds: float) -> T:
        """What `act` returns, or raises. Raises TimeoutError when it takes longer than `seconds`."""
        with self._lock:
            running = self._running
            if running is None:
                running, run = Future(), copy_context().run
                threading.Thread(target=run, args=(self._run, running), name="awaited", daemon=True).start()
                self._running = running
        return running.result(seconds)

    def _run(self, running: Future[T]) -> None:
        try:
            value = self._act()
        except BaseException as error:
            self._end()
            running.set_exception(error)
        else:
            self._end()
            running.set_result(value)

    def _end(self) -> None:
        with self._lock:
            self._running = None


def within(seconds: float, act: Callable[[], T]) -> T:
    """What `act` returns, or raises. Raises TimeoutError, and leaves it to itself, when it takes longer."""
    return OneAtATime(act).result(seconds)


def all_within(seconds: float, acts: Sequence[Callable[[], None]]) -> int:
    """Do all at once, for `seconds` together; how many did not end, and are left to themselves."""
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=copy_context().run, args=(act,), name="awaited", daemon=True) for act in acts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return sum(thread.is_alive() for thread in threads)
