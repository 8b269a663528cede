"""How often a step is observed, and whether that is as often as its plan says."""

from __future__ import annotations

from collections import deque

LATE = 2.0  # intervals from one observation to the next, on average, from which on it is said
OBSERVED = 4  # observations over which that is averaged


class Pace:
    """The latest observations of a step that is to be observed every `interval` seconds."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._at: deque[float] = deque(maxlen=OBSERVED)

    def observed(self, now: float) -> None:
        """There was one at `now` (Unix seconds)."""
        self._at.append(now)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence where it is observed far less often."""
        if len(self._at) < OBSERVED:
            return ()
        seconds = (self._at[-1] - self._at[0]) / (OBSERVED - 1)
        if seconds <= LATE * self._interval:
            return ()
        pace = f"every {seconds:.0f} s instead of {self._interval:g}"
        return (f"It is observed {pace}: whoever watches has too much to do.",)
