"""Time in which this process runs: a machine may stand still meanwhile, and nothing right fails by that."""

from __future__ import annotations

import asyncio
import math
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK = 0.01  # seconds
SLICE = 0.1  # seconds that a loop waits at most before it looks at its time
STANDSTILL = 1.0  # seconds: nothing that runs lets a loop wait for longer


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Fails where what is done takes longer.

    Counts the short waits of a thread of its own: however long the machine stands still or is busy with
    others, that is one of them.
    """
    over, ticks = threading.Event(), 0

    def tick() -> None:
        nonlocal ticks
        while not over.wait(TICK):
            ticks += 1

    thread = threading.Thread(target=tick, name="stopwatch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert ticks * TICK < seconds, f"took {ticks * TICK:.1f} s, not less than {seconds} s"


class RunningLoop(asyncio.SelectorEventLoop):
    """Its time is that in which it runs: a machine that stands still brings no timeout of it nearer."""

    def __init__(self) -> None:
        self._before, self._time = time.monotonic(), 0.0
        super().__init__(_InSlices(self))

    def time(self) -> float:
        now = time.monotonic()
        self._before, self._time = now, self._time + min(now - self._before, STANDSTILL)
        return self._time


class _InSlices(selectors.DefaultSelector):
    """Looks at its loop's time while it waits, so that what it waits for is told from a standstill."""

    def __init__(self, loop: RunningLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        until = self._loop.time() + (math.inf if timeout is None else timeout)
        while True:
            left = until - self._loop.time()
            if (found := super().select(max(0.0, min(left, SLICE)))) or left <= 0:
                return found


class RunningLoops(asyncio.DefaultEventLoopPolicy):
    """Every event loop is a `RunningLoop`."""

    _loop_factory = RunningLoop
