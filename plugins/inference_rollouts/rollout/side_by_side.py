"""Doing the same for many, again and again, where one that hangs may hold no other up."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class SideBySide(Generic[T]):
    """Round after round, `at_once` of what a round begins at a time, for `patience` seconds.

    What takes longer is left to itself, and not begun again before it has ended. What no thread was left for
    comes first in the next round. `wait_for` ends when all are done, or after so many seconds.
    """

    def __init__(
        self,
        at_once: int,
        patience: float,
        wait_for: Callable[[Collection[Future[T]], float | None], object] = wait,
    ) -> None:
        self._at_once, self._wait_for = at_once, wait_for
        self._patience = None if math.isinf(patience) else patience
        self._running: dict[str, Future[T]] = {}
        self._late: frozenset[str] = frozenset()

    @property
    def running(self) -> frozenset[str]:
        """What was begun and had not ended in the last round."""
        return frozenset(self._running)

    def round(self, acts: Mapping[str, Callable[[], T]]) -> dict[str, T]:
        """What has ended since the last round, by name. Raises what an act raises."""
        names = sorted(acts.keys() - self._running.keys(), key=lambda name: name not in self._late)
        threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="side by side")
        begun = {name: threads.submit(acts[name]) for name in names}
        self._wait_for(begun.values(), self._patience)
        threads.shutdown(wait=False, cancel_futures=True)
        self._late = frozenset(name for name, each in begun.items() if each.cancelled())
        all_ = {**self._running, **begun}
        ended = {name: each for name, each in all_.items() if each.done()}
        self._running = {name: each for name, each in all_.items() if name not in ended}
        return {name: each.result() for name, each in ended.items() if name not in self._late}
