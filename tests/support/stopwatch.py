"""How long something takes, of the time in which this process runs: a machine may stand still meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

TICK = 0.01  # seconds


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
