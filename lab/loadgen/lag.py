"""How late this process itself runs what is due."""

from __future__ import annotations

import asyncio
import time
from collections import deque

PROBE = 0.05
KEPT = 60.0


class LoopLag:
    """Samples the event loop's lateness; moments are of the monotonic clock."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=int(KEPT / PROBE))
        self._due = float("inf")

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self._due = time.monotonic() + PROBE
            await asyncio.sleep(PROBE)
            now = time.monotonic()
            self._samples.append((now, now - self._due))

    def since(self, moment: float) -> list[float]:
        """The delays in seconds since `moment`, with that of a sample that is overdue right now."""
        lags = [max(0.0, time.monotonic() - self._due)]
        for sampled, lag in reversed(self._samples):
            if sampled < moment:
                break
            lags.append(max(0.0, lag))
        return lags
