"""Answers that are made once for however many ask at the same time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

FRESH = 2.0  # seconds for which an answer is kept
SLOW = 5.0  # the same of what changes seldom
FOREVER = float("inf")  # the same of what never changes
STALE = 10.0  # seconds after which an answer is not given any more
WAIT = 1.5  # seconds for which a page waits for a cluster, or a store, that it has not heard of yet
OF_DATABASE = 4  # questions of one sort that Airflow's database is asked side by side

T = TypeVar("T")


@dataclass(slots=True)
class _Entry(Generic[T]):
    asked: float  # when `value` was
    value: Future[T]
    next: _Entry[T] | None = None


class Kept(Generic[T]):
    """Keeps each answer for `fresh` seconds, and the `most` latest asked for.

    An older one is given once more while the next is being made, so that who looks all the time does not wait
    for what is only slow. But nobody is told what was true `STALE` seconds ago, nor of a failure that is no
    longer fresh: then, and for what was never asked, one waits, until `patience` seconds after it was asked
    at most. What nobody is told any more is not kept either.

    `waits`: until so many seconds after the next was asked for one waits for it before the older is given.
    Answers that others are made of wait, as each that did not would make those older by its own age.

    `workers` answers are made side by side (None: as many as are kept, so that one that hangs holds up no
    other).
    """

    def __init__(
        self,
        fresh: float,
        most: int = 256,
        workers: int | None = None,
        patience: float | None = None,
        waits: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh = fresh
        self._most = most
        self._patience = patience
        self._waits = waits
        self._now = now
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry[T]] = OrderedDict()
        self._pool = ThreadPoolExecutor(workers or most, thread_name_prefix="console")

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer, which `make` gives. Raises what that raises, and TimeoutError."""
        given, newer = self._looked_up(key, make)
        if (
            newer
            and newer is not given
            and newer.value in wait([newer.value], self._left(newer, self._waits)).done
        ):
            given = newer
        return given.value.result(None if self._patience is None else self._left(given, self._patience))

    def begin(self, key: Hashable, make: Callable[[], T]) -> None:
        """Have the answer made, if it is time: who gets it soon afterwards waits the less for it."""
        self._looked_up(key, make)

    def forget(self, key: Hashable) -> None:
        """What is kept is not so any more: the next answer is made anew."""
        with self._lock:
            self._entries.pop(key, None)

    def _looked_up(self, key: Hashable, make: Callable[[], T]) -> tuple[_Entry[T], _Entry[T] | None]:
        """What is to be given, and what will take its place, if that is being made."""
        with self._lock:
            entry = self._entries[key] = self._current(self._entries.get(key), make)
            self._entries.move_to_end(key)
            while len(self._entries) > self._most or self._is_past(next(iter(self._entries.values()))):
                self._entries.popitem(last=False)
            return self._given(entry), entry.next

    def _current(self, entry: _Entry[T] | None, make: Callable[[], T]) -> _Entry[T]:
        """The latest that is answered, or else asked for; its successor is asked for when it is time."""
        if entry is None:
            return self._ask(make)
        if entry.next is not None and entry.next.value.done():
            entry = entry.next
        if entry.next is None and entry.value.done() and self._age(entry) >= self._fresh:
            entry.next = self._ask(make)
        return entry

    def _given(self, entry: _Entry[T]) -> _Entry[T]:
        if entry.next is None:
            return entry
        failed = entry.value.exception() is not None  # it is done: only then there is a next
        return entry.next if failed or self._is_stale(entry) else entry

    def _is_past(self, entry: _Entry[T]) -> bool:
        """Whether nobody will be told of it: the latest that was asked for is answered, and stale."""
        latest = entry.next or entry
        return latest.value.done() and self._is_stale(latest)

    def _is_stale(self, entry: _Entry[T]) -> bool:
        return self._age(entry) >= max(self._fresh, STALE)

    def _ask(self, make: Callable[[], T]) -> _Entry[T]:
        return _Entry(self._now(), self._pool.submit(make))

    def _age(self, entry: _Entry[T]) -> float:
        return self._now() - entry.asked

    def _left(self, entry: _Entry[T], seconds: float) -> float:
        """Of so many seconds from when it was asked."""
        return max(0.0, seconds - self._age(entry))
