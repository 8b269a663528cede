"""A server's clock, as its answers tell it."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime


class ServerClock:
    """Unix seconds as our own clock had them at the newest answer, put right by as much as its `Date` proves
    wrong, and what has passed since: to a second or two, and whatever is done to our clock meanwhile.

    Until an answer has told it is our own clock. `elapsed` gives seconds that only grow. Safe to use from
    threads.
    """

    def __init__(
        self, elapsed: Callable[[], float] = time.monotonic, own: Callable[[], float] = time.time
    ) -> None:
        self._elapsed = elapsed
        self._own = own
        self._told: tuple[float, float] | None = None
        self.ahead = 0.0  # seconds by which it is ahead of ours at least; negative: behind

    def hear(self, date: str | None, took: float = 0.0) -> None:
        """An answer that has just come, and took so many seconds, has this header; else nothing is heard."""
        try:
            moment = parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            return
        own = self._own()
        # The header leaves out what has passed of its second, and it was written at some time of the request.
        earliest, latest = moment - own, moment + 1.0 + took - own
        self.ahead = max(0.0, earliest) + min(0.0, latest)
        self._told = own + self.ahead, self._elapsed()

    def now(self) -> float:
        """What time it is there."""
        if self._told is None:
            return self._own()
        moment, then = self._told
        return moment + self._elapsed() - then
