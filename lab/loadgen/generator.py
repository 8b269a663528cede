"""The open loop: requests start when they are due, whatever became of those before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from random import Random

from lab.loadgen.arrivals import Lengths, Poisson, Traced
from lab.loadgen.client import Client
from lab.loadgen.lag import LoopLag
from lab.loadgen.log import RequestLog
from lab.loadgen.prompts import Prompts
from lab.loadgen.stats import Stats

FLUSH = 0.5
LAST_ANSWERS = 5.0


class Generator:
    """Sends requests by a schedule and keeps count of them.

    `aliases` are other names than the client's model that are asked for, each by a share of the requests.
    """

    def __init__(
        self,
        client: Client,
        log: RequestLog,
        rate: float,
        stream_share: float,
        seed: int,
        aliases: Mapping[str, float] | None = None,
    ) -> None:
        self.stats = Stats()
        self.poisson = Poisson(rate, Random(f"{seed}/arrivals"))
        self.in_flight = 0
        self.sent = 0
        self.client = client
        self._log = log
        self._stream_share = stream_share
        self._aliases = {"": 1.0 - sum((aliases or {}).values()), **(aliases or {})}
        self._rng = Random(f"{seed}/stream")
        self._names = Random(f"{seed}/names")
        self._prompts = Prompts(Random(f"{seed}/prompts"))
        self.lag = LoopLag()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._feeder: asyncio.Task[None] | None = None

    def set_rate(self, rate: float) -> None:
        """Requests a second from now on; 0 pauses."""
        self.poisson.rate = rate
        self._changed.set()

    async def run(self, trace: Iterable[Traced] | None = None, speed: float = 1.0) -> None:
        """Send until `stop`, or to the end of the trace (sped up by `speed`); then wait for the last
        answers, `LAST_ANSWERS` seconds at most.
        """
        feed = self._synthetic() if trace is None else self._replay(trace, speed)
        self._feeder = asyncio.create_task(feed)
        helpers = [asyncio.create_task(self.lag.run()), asyncio.create_task(self._flush_regularly())]
        try:
            ended, _ = await asyncio.wait([self._feeder, *helpers], return_when=asyncio.FIRST_COMPLETED)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=LAST_ANSWERS)
            for task in ended:
                if not task.cancelled():
                    task.result()
        finally:
            unfinished = [self._feeder, *helpers, *self._tasks]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    def stop(self) -> None:
        """Send nothing more."""
        if self._feeder:
            self._feeder.cancel()

    async def _synthetic(self) -> None:
        due = time.monotonic()
        while True:
            due += self.poisson.gap()
            if await self._rate_changed_before(due):
                due = time.monotonic()
            else:
                self._start(due, self.poisson.lengths())

    async def _rate_changed_before(self, due: float) -> bool:
        self._changed.clear()
        with suppress(TimeoutError):
            rest = due - time.monotonic()
            await asyncio.wait_for(self._changed.wait(), rest if rest < float("inf") else None)
        return self._changed.is_set()

    async def _replay(self, trace: Iterable[Traced], speed: float) -> None:
        began = time.monotonic()
        for request in trace:
            due = began + request.offset / speed
            await asyncio.sleep(due - time.monotonic())
            self._start(due, request.lengths)

    def _start(self, due: float, lengths: Lengths) -> None:
        prompt = self._prompts.draw(lengths.prompt)
        stream = self._rng.random() < self._stream_share
        (alias,) = self._names.choices([*self._aliases], [*self._aliases.values()])
        task = asyncio.create_task(self._send(due, prompt, lengths, stream, alias))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, due: float, prompt: str, lengths: Lengths, stream: bool, alias: str) -> None:
        started = time.monotonic()
        self.sent += 1
        self.in_flight += 1
        try:
            record = await self.client.send(prompt, lengths, stream=stream, alias=alias)
        finally:
            self.in_flight -= 1
        record.late = max(0.0, started - due)
        record.lag = max(self.lag.since(started))
        self.stats.add(record, time.monotonic())
        self._log.write(record)

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            self._log.flush()
