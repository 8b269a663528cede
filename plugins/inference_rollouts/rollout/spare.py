"""What a process may do for those who come late, beside what it has to do for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Spare:
    """Ticks that were missed and may be asked for by all who share a process: `most` at once, and `pace` more
    with each second.

    Very many who begin together, as after a restart, would come the later the more each had to catch up on,
    and would never be on time again. Safe to use from threads.

    `now` gives seconds. It is asked here, and not by who takes: what one knew before it had to wait for a
    thread and another knew just now would be a second that passes again with each of them.
    """

    def __init__(self, most: int, pace: float, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._pace = pace
        self._now = now
        self._left = float(most)
        self._at = now()
        self._lock = threading.Lock()

    def take(self, ticks: int) -> bool:
        """Whether so many may be asked for now; if so, they are gone then."""
        with self._lock:
            now = self._now()
            self._left = min(self._most, self._left + self._pace * (now - self._at))
            self._at = now
            if ticks > self._left:
                return False
            self._left -= ticks
            return True
