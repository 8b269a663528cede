"""A server's clock, as its answers tell it."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime


class ServerClock:
    """Unix seconds by the `Date` of the newest answer and what has passed since, to a second or two.

    Until an answer has told it is our own clock. `elapsed` gives seconds that only grow. Safe to use from
    threads.
    """

    def __init__(
        self, elapsed: Callable[[], float] = time.monotonic, own: Callable[[], float] = time.time
    ) -> None:
        self._elapsed = elapsed
        self._own = own
        self._told: tuple[float, float] | None = None

    def hear(self, date: str | None) -> None:
        """An answer that has just come has this header; what is no date is not heard."""
        try:
            moment = parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            return
        self._told = moment, self._elapsed()

    def now(self) -> float:
        """What time it is there."""
        if self._told is None:
            return self._own()
        moment, then = self._told
        return moment + self._elapsed() - then
