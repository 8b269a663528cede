"""Something that is asked for beside everything else, and waited for only for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """Asks one thing after the other in `threads`. `last` is what was answered before."""

    def __init__(self, last: T, threads: Executor) -> None:
        self.last = last
        self._threads = threads
        self._asked: Future[T] | None = None

    @property
    def asked(self) -> Future[T] | None:
        """What is still being asked, or was answered and not taken yet."""
        return self._asked

    def ask(self, question: Callable[[], T]) -> None:
        """Begin to ask, unless something is still being asked."""
        if self._asked is None:
            self._asked = self._threads.submit(copy_context().run, question)

    def expect(self, asked: Future[T]) -> None:
        """Expect an answer to what is asked already, unless something else is still being asked."""
        if self._asked is None:
            self._asked = asked

    def answer(self, until: float) -> T | None:
        """What was asked for; None where it has not come by `until` (by `time.monotonic`).

        Raises what the question raised.
        """
        if self._asked is None:
            return None
        asked = self._asked
        if not asked.done():
            wait([asked], max(0.0, until - time.monotonic()))
        if not asked.done():
            return None
        self._asked = None
        self.last = asked.result()
        return self.last
