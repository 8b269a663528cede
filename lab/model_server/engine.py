"""Continuous batching: admits sequences up to the limits, paces their tokens, keeps the counts."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from random import Random

from lab.model_server.metrics import VllmMetrics
from lab.model_server.timing import Timing

TOKENS_A_CHUNK = 8


@dataclass(slots=True)
class Sequence:
    """One request inside the engine; tokens are counted, not made."""

    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int
    finish_reason: str
    rng: Random
    prefill_factor: float = 1.0
    decode_factor: float = 1.0
    arrived: float = 0.0
    scheduled: float = 0.0
    first_token: float = 0.0

    @property
    def kv_tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens


class Engine:
    """The scheduler of one server. Waiting sequences start in order of arrival."""

    def __init__(self, timing: Timing, max_num_seqs: int, kv_cache_tokens: int, metrics: VllmMetrics) -> None:
        self._timing = timing
        self._max_num_seqs = max_num_seqs
        self._kv_capacity = kv_cache_tokens
        self._metrics = metrics
        self._running = 0
        self._kv_used = 0
        self._served = 0
        self._waiting: deque[tuple[asyncio.Future[None], Sequence]] = deque()

    @property
    def running(self) -> int:
        """Sequences in the batch now."""
        return self._running

    async def tokens(self, sequence: Sequence) -> AsyncGenerator[int, None]:
        """Yields the number of new tokens each time some are out: first 1, then up to 8 at once.

        A consumer that stops early aborts the sequence.
        """
        sequence.arrived = time.monotonic()
        finished = False
        try:
            await self._admit(sequence)
        except asyncio.CancelledError:
            self._metrics.finished("abort")
            raise
        try:
            await self._prefill(sequence)
            yield 1
            remaining = sequence.answer_tokens - 1
            due = sequence.first_token
            while remaining:
                count = min(TOKENS_A_CHUNK, remaining)
                started, due = due, due + self._decode_time(sequence, count)
                await asyncio.sleep(due - time.monotonic())
                due = max(due, time.monotonic())
                self._metrics.inter_token.observe((due - started) / count, count)
                self._metrics.generation_tokens.value += count
                remaining -= count
                yield count
            finished = True
        finally:
            self._release(sequence)
            self._record(sequence, finished)

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
        room = not self._running or self._kv_used + sequence.kv_tokens <= self._kv_capacity
        return self._running < self._max_num_seqs and room

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
        self._metrics.prefix_queries.value += sequence.prompt_tokens
        self._metrics.prefix_hits.value += sequence.cached_tokens
        await asyncio.sleep(duration * sequence.prefill_factor)
        sequence.first_token = time.monotonic()
        self._metrics.prompt_tokens.value += sequence.prompt_tokens
        self._metrics.generation_tokens.value += 1
        self._metrics.ttft.observe(sequence.first_token - sequence.arrived)

    def _decode_time(self, sequence: Sequence, count: int) -> float:
        return self._timing.decode(count, self._running, sequence.rng) * sequence.decode_factor

    def _show(self) -> None:
        self._metrics.running.value = float(self._running)
        self._metrics.waiting.value = float(len(self._waiting))
        self._metrics.kv_usage.value = min(1.0, self._kv_used / self._kv_capacity)

    def _record(self, sequence: Sequence, finished: bool) -> None:
        metrics, now = self._metrics, time.monotonic()
        metrics.finished(sequence.finish_reason if finished else "abort")
        if not finished:
            return
        metrics.e2e.observe(now - sequence.arrived)
        metrics.queue.observe(sequence.scheduled - sequence.arrived)
        metrics.prefill.observe(sequence.first_token - sequence.scheduled)
        metrics.decode.observe(now - sequence.first_token)
        metrics.inference.observe(now - sequence.scheduled)
        metrics.prompt_lengths.observe(sequence.prompt_tokens)
        metrics.answer_lengths.observe(sequence.answer_tokens)
