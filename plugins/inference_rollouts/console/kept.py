"""Answers that are made once for however many ask at the same time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

FRESH = 2.0  # seconds for which an answer is kept
SLOW = 5.0  # the same of what changes seldom
FOREVER = float("inf")  # the same of what never changes
WAIT = 1.5  # seconds for which a page waits for a cluster, or a store, that it has not heard of yet

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    made: float
    value: Future[T]
    next: Future[T] | None = None


class Kept(Generic[T]):
    """Keeps each answer for `fresh` seconds, and the `most` latest asked for.

    An older one is given once more while the next is being made, so that nobody waits for what is only slow;
    one that failed is not, and is as good as none after that time. For what was never answered one waits for
    `patience` seconds at most.
    """

    def __init__(
        self,
        fresh: float,
        most: int = 256,
        workers: int = 4,
        patience: float | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh = fresh
        self._most = most
        self._patience = patience
        self._now = now
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="console")

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer, which `make` gives. Raises what that raises, and TimeoutError."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or (_failed(entry.value) and self._is_old(entry)):
                entry = self._entries[key] = _Entry(self._now(), self._pool.submit(make))
            else:
                self._renew(entry, make)
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
            value = entry.value
        return value.result(self._patience)

    def _renew(self, entry: _Entry[T], make: Callable[[], T]) -> None:
        """The lock is held. A renewal that failed takes the place of the answer: it is not true any more."""
        if entry.next is not None and entry.next.done():
            entry.value, entry.next = entry.next, None
        if self._is_old(entry) and entry.next is None and entry.value.done():
            entry.made, entry.next = self._now(), self._pool.submit(make)

    def _is_old(self, entry: _Entry[T]) -> bool:
        return self._now() - entry.made >= self._fresh


def _failed(value: Future[T]) -> bool:
    return value.done() and value.exception() is not None
