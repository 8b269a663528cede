"""How a server answers requests for text: whole, or as a stream whose headers go out at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from random import Random

from aiohttp import web

from lab.model_server.answers import DONE, error_event
from lab.model_server.engine import Engine, Sequence
from lab.model_server.errors import ProtocolError, engine_dead, internal
from lab.model_server.faults import Fault, Faults
from lab.model_server.images import Image
from lab.model_server.jobs import MIDWAY, Job, Maker, check, prompts_of
from lab.model_server.models import Models
from lab.model_server.requests import Asking, ChatRequest
from lab.model_server.timing import PrefixCache

FAULT_STATUS = {Fault.HTTP_500: 500, Fault.HTTP_503: 503, Fault.HTTP_429: 429}
EVENT_STREAM = {"content-type": "text/event-stream; charset=utf-8"}


class Completions:
    """Answers on an engine. `seed` makes all chances; `idle` is set while nobody waits for an answer."""

    def __init__(self, image: Image, models: Models, engine: Engine, seed: str) -> None:
        self.faults = image.faults
        self.refusing = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._image = image
        self._models = models
        self._engine = engine
        self._cache = PrefixCache()
        self._seed = seed
        self._requests = 0
        self._in_flight = 0

    async def answer(self, request: web.Request, asked: Asking) -> web.StreamResponse:
        """Answer one request; raises ProtocolError when that is refused before anything is sent."""
        async with self._counted():
            job = await self._admit(asked)
            if asked.stream:
                return await self._stream(request, job, asked.include_usage)
            return await self._whole(request, job)

    def require_open(self) -> None:
        """Raises ProtocolError 500 once the server has been told to end: it makes no more prompts ready."""
        if self.refusing:
            raise internal("cannot schedule new futures after shutdown")

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self._in_flight += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self.idle.set()

    async def _admit(self, asked: Asking) -> Job:
        model, adapter_faults = self._models.resolve(asked.model)
        self._engine.check_admission(asked.n or 1)
        await asyncio.sleep(0)  # others are admitted while a prompt is made ready
        self.require_open()
        prompts = prompts_of(asked, self._image)
        check(asked, prompts, self._image)
        self._requests += 1
        rng = Random(f"{self._seed}/{self._requests}")
        prefix = "chatcmpl" if isinstance(asked, ChatRequest) else "cmpl"
        identity = (f"{prefix}-{rng.getrandbits(64):016x}", int(time.time()))
        faults = (self.faults, adapter_faults or Faults())
        job = Maker(self._image, self._cache, model, faults).job(asked, prompts, identity, rng)
        if status := FAULT_STATUS.get(job.fault) if job.fault else None:
            raise ProtocolError("injected fault", status, "InternalServerError" if status == 500 else "Error")
        return job

    async def _whole(self, request: web.Request, job: Job) -> web.StreamResponse:
        async with aclosing(self._tokens(job)) as tokens:
            async for _ in tokens:
                pass
        if job.fault is Fault.CUT:
            return _cut(request, web.Response())
        return json_response(job.answer.whole([choice.said() for choice in job.choices], job.tokens))

    async def _stream(self, request: web.Request, job: Job, include_usage: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers=EVENT_STREAM)
        await response.prepare(request)
        try:
            async with aclosing(self._events(job, include_usage)) as events:
                async for event in events:
                    await response.write(event)
        except ProtocolError as error:
            await response.write(error_event(error) + DONE)
        if job.fault is Fault.CUT:
            return _cut(request, response)
        await response.write_eof()
        return response

    async def _events(self, job: Job, include_usage: bool) -> AsyncGenerator[bytes, None]:
        """The events of a stream as they come about; the last comes with all that ends the stream."""
        answer, left = job.answer, len(job.choices)
        writers = [answer.events(index, fingerprint=not include_usage) for index in range(left)]
        out = [0] * left
        opening = b"".join(answer.opening_event(index) for index in range(left))
        async with aclosing(self._tokens(job)) as tokens:
            async for index, count in tokens:
                choice, first = job.choices[index], out[index]
                out[index] += count
                if out[index] < choice.sequence.answer_tokens:
                    yield opening + writers[index].text(choice.slice(first, out[index]))
                else:
                    left -= 1
                    ending = (answer.usage_event(job.tokens) if include_usage else b"") + DONE
                    yield opening + writers[index].last(choice.said(first)) + (b"" if left else ending)
                opening = b""

    async def _tokens(self, job: Job) -> AsyncGenerator[tuple[int, int], None]:
        """Index of a choice and number of its new tokens, until all are out, or a fault strikes midway."""
        if job.fault is Fault.HANG:
            await asyncio.Event().wait()
        out = 0
        async with aclosing(self._generated(job)) as generated:
            async for index, count in generated:
                out += count
                if job.fault in MIDWAY and 2 * out >= job.tokens:
                    await _strike(job.fault)
                    return
                yield index, count

    async def _generated(self, job: Job) -> AsyncGenerator[tuple[int, int], None]:
        if len(job.choices) == 1:
            async with aclosing(self._engine.tokens(job.choices[0].sequence)) as groups:
                async for count in groups:
                    yield 0, count
            return
        merged: asyncio.Queue[tuple[int, int] | ProtocolError] = asyncio.Queue()

        async def generate(index: int, sequence: Sequence) -> None:
            try:
                async with aclosing(self._engine.tokens(sequence)) as groups:
                    async for count in groups:
                        merged.put_nowait((index, count))
            except ProtocolError as error:
                merged.put_nowait(error)

        tasks = [asyncio.create_task(generate(i, each.sequence)) for i, each in enumerate(job.choices)]
        try:
            out = 0
            while out < job.tokens:
                new = await merged.get()
                if isinstance(new, ProtocolError):
                    raise new
                out += new[1]
                yield new
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _strike(fault: Fault) -> None:
    if fault is Fault.STALL:
        await asyncio.Event().wait()
    if fault is Fault.ENGINE_ERROR:
        raise engine_dead()


def json_response(value: object, status: int = 200) -> web.Response:
    """A JSON answer, without spaces and without a charset, as the real server writes it."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return web.Response(body=body, status=status, content_type="application/json")


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Drop the connection in the middle of the answer."""
    if request.transport:
        request.transport.abort()
    return response
