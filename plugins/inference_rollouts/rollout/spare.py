"""What a process may do for those who come late, beside what it has to do for all."""

from __future__ import annotations

import threading


class Spare:
    """Ticks that were missed and may be asked for by all who share a process: `most` at once, and `pace` more
    with each second.

    Very many who begin together, as after a restart, would come the later the more each had to catch up on,
    and would never be on time again. Safe to use from threads.
    """

    def __init__(self, most: int, pace: float) -> None:
        self._most = most
        self._pace = pace
        self._left = float(most)
        self._at: float | None = None
        self._lock = threading.Lock()

    def take(self, ticks: int, now: float) -> bool:
        """Whether so many may be asked for at `now` (Unix seconds); if so, they are gone then."""
        with self._lock:
            if self._at is not None:
                self._left = min(self._most, self._left + self._pace * max(0.0, now - self._at))
            self._at = now
            if ticks > self._left:
                return False
            self._left -= ticks
            return True
