"""The HTTP interface of one simulated vLLM server."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from dataclasses import asdict, replace
from random import Random
from typing import Any

from aiohttp import web

from lab.model_server import words
from lab.model_server.engine import Engine
from lab.model_server.faults import Fault, Faults
from lab.model_server.images import Catalogue, Image
from lab.model_server.jobs import Job, make_job
from lab.model_server.metrics import VllmMetrics
from lab.model_server.models import Models
from lab.model_server.options import Options
from lab.model_server.protocol import DONE, ProtocolError, parse_completion, prompt_text
from lab.model_server.timing import PrefixCache

LARGEST_BODY = 16 * 2**20
FAULT_STATUS = {Fault.HTTP_500: 500, Fault.HTTP_503: 503, Fault.HTTP_429: 429}
NOT_COUNTED = ("/metrics", "/health", "/version", "/lab/faults", "/lab/crash")


class Api:
    """The routes and the state behind them. `pod` seeds all randomness and names the server in
    `x-served-by`; `pool` goes into `x-inference-pool`. Must be made inside a running loop.
    """

    def __init__(self, image: Image, options: Options, catalogue: Catalogue, pod: str, pool: str) -> None:
        self.image = replace(image, max_model_len=options.max_model_len or image.max_model_len)
        self.faults = image.faults
        self.draining = False
        self.refusing = False
        self.crashed = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self._in_flight = 0
        names = (image.served_name,) if image.served_name else options.names
        self.models = Models(options, catalogue, names, self.image.max_model_len, int(time.time()))
        self.metrics = VllmMetrics(names[0], self.image.max_model_len)
        self._options = options
        self._engine = Engine(image.timing, options.max_num_seqs, image.kv_cache_tokens, self.metrics)
        self._cache = PrefixCache()
        self._seed = pod
        self._headers = {"x-served-by": pod, "x-inference-pool": pool, "server": "simulated-vllm"}
        self._requests = 0

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(middlewares=[self._front], client_max_size=LARGEST_BODY)
        app.on_response_prepare.append(self._name_server)
        app.add_routes(
            [
                web.post("/v1/completions", self._completions),
                web.post("/v1/chat/completions", self._chat_completions),
                web.get("/v1/models", self._list_models),
                web.post("/tokenize", self._tokenize),
                web.get("/health", self._health),
                web.get("/version", self._version),
                web.get("/metrics", self._metrics),
                web.get("/lab/faults", self._show_faults),
                web.post("/lab/faults", self._change_faults),
                web.post("/lab/crash", self._crash),
            ]
        )
        if self._options.runtime_lora:
            app.router.add_post("/v1/load_lora_adapter", self._load_adapter)
            app.router.add_post("/v1/unload_lora_adapter", self._unload_adapter)
        return app

    @web.middleware
    async def _front(self, request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            response = await handler(request)
        except ProtocolError as error:
            response = web.json_response(error.body(), status=error.status)
        except web.HTTPException as error:
            response = web.json_response({"detail": error.reason}, status=error.status)
        resource = request.match_info.route.resource
        path = resource.canonical if resource else "none"
        if path not in NOT_COUNTED:
            self.metrics.http(path, request.method, response.status)
        return response

    async def _name_server(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)
        if self.draining:
            response.headers["connection"] = "close"

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, chat=False)

    async def _chat_completions(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, chat=True)

    async def _complete(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        if self.refusing:
            raise ProtocolError("the server is shutting down", 503, "ServiceUnavailableError")
        self._enter()
        try:
            completion = parse_completion(await _json(request), chat=chat)
            if chat:
                completion = replace(completion, prompt=self.image.chat_prefix + completion.prompt)
            model, adapter_faults = self.models.resolve(completion.model)
            faults = (self.faults, adapter_faults or Faults())
            rng, identity = self._next_request(chat)
            job = make_job(completion, model, faults, self.image, self._cache, identity, rng)
            await _fail_early(job)
            if completion.stream:
                return await self._stream(request, job, completion.include_usage)
            return await self._whole(request, job)
        finally:
            self._leave()

    def _enter(self) -> None:
        self._in_flight += 1
        self.idle.clear()

    def _leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self.idle.set()

    def _next_request(self, chat: bool) -> tuple[Random, tuple[str, int]]:
        self._requests += 1
        rng = Random(f"{self._seed}/{self._requests}")
        prefix = "chatcmpl" if chat else "cmpl"
        return rng, (f"{prefix}-{rng.getrandbits(128):032x}", int(time.time()))

    async def _whole(self, request: web.Request, job: Job) -> web.StreamResponse:
        async with aclosing(self._engine.tokens(job.sequence)) as groups:
            async for _ in groups:
                pass
        if job.fault is Fault.CUT:
            return _cut(request, web.Response())
        tokens = job.sequence.answer_tokens
        return web.json_response(job.answer.whole(job.slice(0, tokens), tokens, job.sequence.finish_reason))

    async def _stream(self, request: web.Request, job: Job, include_usage: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        events, sequence, out = job.answer.events(), job.sequence, 0
        opening = job.answer.opening_event()
        async with aclosing(self._engine.tokens(sequence)) as groups:
            async for count in groups:
                if not out:
                    await response.prepare(request)
                last = out + count == sequence.answer_tokens
                text = events.text(job.slice(out, out + count), sequence.finish_reason if last else None)
                out += count
                if job.fault is Fault.CUT and 2 * out >= sequence.answer_tokens:
                    return _cut(request, response)
                ending = b""
                if last:
                    ending = (job.answer.usage_event(out) if include_usage else b"") + DONE
                await response.write(opening + text + ending)
                opening = b""
        await response.write_eof()
        return response

    async def _list_models(self, _: web.Request) -> web.Response:
        return web.json_response(self.models.listing())

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await _json(request)
        self.models.resolve(body.get("model"))
        prefix = self.image.chat_prefix if "messages" in body else ""
        tokens = words.token_ids(prefix + prompt_text(body), self.image.characters_per_token)
        limit = self.image.max_model_len
        return web.json_response(
            {"count": len(tokens), "max_model_len": limit, "tokens": tokens, "token_strs": None}
        )

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.draining else 200)

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": self.image.version, "simulated": True})

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self.metrics.exposition(self.faults.hides)
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    async def _load_adapter(self, request: web.Request) -> web.Response:
        body = await _json(request)
        in_place = bool(body.get("load_inplace"))
        self.models.load(body.get("lora_name"), body.get("lora_path"), in_place=in_place)
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' added successfully.")

    async def _unload_adapter(self, request: web.Request) -> web.Response:
        body = await _json(request)
        self.models.unload(body.get("lora_name"))
        return web.Response(text=f"Success: LoRA adapter '{body['lora_name']}' removed successfully.")

    async def _crash(self, _: web.Request) -> web.Response:
        """As SIGKILL: whoever runs this server is to end it at once."""
        self.crashed.set()
        return web.Response(status=202)

    async def _show_faults(self, _: web.Request) -> web.Response:
        return web.json_response(asdict(self.faults))

    async def _change_faults(self, request: web.Request) -> web.Response:
        body = await _json(request)
        try:
            self.faults = self.faults.changed(body)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        return await self._show_faults(request)


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise ProtocolError("the body must be a JSON object")
    return body


async def _fail_early(job: Job) -> None:
    """Raise for an injected status; never return for a hang."""
    if job.fault is Fault.HANG:
        await asyncio.Event().wait()
    if status := FAULT_STATUS.get(job.fault) if job.fault else None:
        raise ProtocolError("injected fault", status, "InternalServerError" if status == 500 else "Error")


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Drop the connection in the middle of the answer."""
    if request.transport:
        request.transport.abort()
    return response
