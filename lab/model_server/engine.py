"""Continuous batching: admits sequences up to the limits, paces their tokens, keeps the counts."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from random import Random

from lab.model_server.errors import engine_dead, queue_full
from lab.model_server.metrics import VllmMetrics
from lab.model_server.timing import Timing

TOKENS_A_CHUNK = 8


@dataclass(slots=True)
class Sequence:
    """One answer to one prompt inside the engine; tokens are counted, not made.

    One that is `lost` never comes to its end here: its consumer breaks it off.
    """

    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int
    finish_reason: str
    rng: Random
    prefill_factor: float = 1.0
    decode_factor: float = 1.0
    lost: bool = False
    arrived: float = 0.0
    scheduled: float = 0.0
    first_token: float = 0.0

    @property
    def kv_tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one engine takes: `max_queued` bounds unfinished sequences (None: nothing does)."""

    max_num_seqs: int
    kv_cache_tokens: int
    max_queued: int | None = None


class Engine:
    """The scheduler of one server. Waiting sequences start in order of arrival.

    Once it is `stopped` it makes no more tokens and tells nobody; once it is `dead` every request fails.
    """

    def __init__(self, timing: Timing, limits: Limits, metrics: VllmMetrics) -> None:
        self.stopped = self.dead = False
        self._timing = timing
        self._limits = limits
        self._metrics = metrics
        self._running = 0
        self._kv_used = 0
        self._served = 0
        self._waiting: deque[tuple[asyncio.Future[None], Sequence]] = deque()

    @property
    def running(self) -> int:
        """Sequences in the batch now."""
        return self._running

    def die(self) -> None:
        """Fail every request from now on, as when a worker was killed."""
        self.dead = True
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(engine_dead())

    def check_admission(self, sequences: int = 1) -> None:
        """Raises ProtocolError: 503, which is counted, when so many more would be too many; 500 once dead."""
        if self.dead:
            raise engine_dead()
        most = self._limits.max_queued
        if most is not None and self._running + len(self._waiting) + sequences > most:
            self._metrics.rejected()
            raise queue_full()

    async def tokens(self, sequence: Sequence) -> AsyncGenerator[int, None]:
        """Yields the number of new tokens each time some are out: first 1, then up to 8 at once.

        A consumer that stops early takes the sequence out of the batch; then it is in no count of finished
        ones and in no latency but those that it had come to. Raises ProtocolError when the queue is full, and
        when the engine dies.
        """
        self.check_admission()
        sequence.arrived = time.monotonic()
        await self._admit(sequence)
        try:
            await self._prefill(sequence)
            count, remaining = 1, sequence.answer_tokens - 1
            due = sequence.first_token
            while remaining or sequence.lost:
                yield count
                count = min(TOKENS_A_CHUNK, remaining)
                started, due = due, due + self._decode_time(sequence, count)
                await self._pass(due - time.monotonic())
                due = max(due, time.monotonic())
                self._metrics.inter_token.observe((due - started) / count, count)
                self._metrics.generation_tokens.value += count
                remaining -= count
            self._record(sequence)
        finally:
            self._release(sequence)
        yield count

    async def _pass(self, seconds: float) -> None:
        """Let time pass, in which the engine may have come to its end."""
        await asyncio.sleep(seconds)
        if self.stopped:
            await asyncio.Event().wait()
        if self.dead:
            raise engine_dead()

    async def _admit(self, sequence: Sequence) -> None:
        if self._waiting or not self._fits(sequence):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            entry = (turn, sequence)
            self._waiting.append(entry)
            self._show()
            try:
                await turn
            except asyncio.CancelledError:
                self._leave(entry)
                raise
        else:
            self._enter(sequence)
        sequence.scheduled = time.monotonic()

    def _leave(self, entry: tuple[asyncio.Future[None], Sequence]) -> None:
        turn, sequence = entry
        if turn.done() and not turn.cancelled():
            self._release(sequence)
        elif entry in self._waiting:
            self._waiting.remove(entry)
            self._show()

    def _fits(self, sequence: Sequence) -> bool:
        limits = self._limits
        room = not self._running or self._kv_used + sequence.kv_tokens <= limits.kv_cache_tokens
        return self._running < limits.max_num_seqs and room

    def _enter(self, sequence: Sequence) -> None:
        self._running += 1
        self._kv_used += sequence.kv_tokens
        self._show()

    def _release(self, sequence: Sequence) -> None:
        self._running -= 1
        self._kv_used -= sequence.kv_tokens
        while self._waiting and (self._waiting[0][0].cancelled() or self._fits(self._waiting[0][1])):
            turn, following = self._waiting.popleft()
            if not turn.cancelled():
                self._enter(following)
                turn.set_result(None)
        self._show()

    async def _prefill(self, sequence: Sequence) -> None:
        uncached = sequence.prompt_tokens - sequence.cached_tokens
        duration = self._timing.prefill(uncached, self._running, self._served, sequence.rng)
        self._served += 1
        metrics = self._metrics
        metrics.prefix_queries.value += sequence.prompt_tokens
        metrics.prefix_hits.value += sequence.cached_tokens
        await self._pass(duration * sequence.prefill_factor)
        sequence.first_token = time.monotonic()
        metrics.prompt_tokens.value += sequence.prompt_tokens
        metrics.cached_tokens.value += sequence.cached_tokens
        metrics.generation_tokens.value += 1
        metrics.ttft.observe(sequence.first_token - sequence.arrived)

    def _decode_time(self, sequence: Sequence, count: int) -> float:
        return self._timing.decode(count, self._running, sequence.rng) * sequence.decode_factor

    def _show(self) -> None:
        self._metrics.running.value = float(self._running)
        self._metrics.wait(len(self._waiting))
        self._metrics.kv_usage.value = min(1.0, self._kv_used / self._limits.kv_cache_tokens)

    def _record(self, sequence: Sequence) -> None:
        """Count a sequence that has ended by itself."""
        metrics, now = self._metrics, time.monotonic()
        metrics.finished(sequence.finish_reason)
        metrics.e2e.observe(now - sequence.arrived)
        metrics.queue.observe(sequence.scheduled - sequence.arrived)
        metrics.prefill.observe(sequence.first_token - sequence.scheduled)
        metrics.decode.observe(now - sequence.first_token)
        metrics.per_token.observe((now - sequence.first_token) / max(1, sequence.answer_tokens - 1))
        metrics.inference.observe(now - sequence.scheduled)
        metrics.prompt_lengths.observe(sequence.prompt_tokens)
        metrics.answer_lengths.observe(sequence.answer_tokens)
