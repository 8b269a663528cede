"""A reconcile loop: a queue of keys, each handled alone, again after failures, never lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from lab.kube.client import KubeError

log = logging.getLogger(__name__)

Key = TypeVar("Key")

FIRST_RETRY = 0.02
LAST_RETRY = 5.0


class Loop(Generic[Key]):
    """Calls `reconcile(key)` for every key added, one at a time, until nothing is left to do.

    A key added while it is being handled is handled again. A failure is tried again with growing
    delays. `reconcile` may return a number of seconds after which the key is due again.
    """

    def __init__(self, name: str, reconcile: Callable[[Key], Awaitable[float | None]]) -> None:
        self.name = name
        self._reconcile = reconcile
        self._waiting: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def add(self, key: Key) -> None:
        """Handle `key` soon."""
        self._waiting[key] = None
        self._wake.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Handle `key` in `seconds`, unless it is already due earlier."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer and not timer.cancelled() and timer.when() <= due:
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._fire, key)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            key = next(iter(self._waiting))
            del self._waiting[key]
            await self._handle(key)

    async def _handle(self, key: Key) -> None:
        try:
            again = await self._reconcile(key)
        except KubeError as error:
            level = logging.DEBUG if error.status in (404, 409) else logging.WARNING
            log.log(level, "%s %s: %s", self.name, key, error)
            self._retry(key)
        except Exception:
            log.exception("%s %s", self.name, key)
            self._retry(key)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.add_after(key, again)

    def _retry(self, key: Key) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, min(FIRST_RETRY * 2 ** min(failures, 16), LAST_RETRY))

    def _fire(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)
