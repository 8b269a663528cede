"""The HTTP interface of one simulated vLLM server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace

from aiohttp import hdrs, web

from lab.model_server import words
from lab.model_server.completions import Completions, json_response
from lab.model_server.engine import Engine, Limits
from lab.model_server.errors import ProtocolError
from lab.model_server.images import Catalogue, Image
from lab.model_server.jobs import chat_prompt
from lab.model_server.metrics import VllmMetrics
from lab.model_server.models import Models
from lab.model_server.options import Options
from lab.model_server.requests import (
    Body,
    ChatRequest,
    CompletionRequest,
    LoadAdapterRequest,
    TokenizeChatRequest,
    TokenizeRequest,
    UnloadAdapterRequest,
    parse,
)

LARGEST_BODY = 16 * 2**20
GUARDED = "/v1/"  # what wants an API key, where there is one
ENGINE_DEATH = 1.0  # seconds from the death of an engine to the end of its server
NO_TYPE = "application/octet-stream"  # what aiohttp calls an answer whose type nobody named

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The routes and the state behind them. `pod` seeds all randomness and names the server in
    `x-served-by`; `pool` goes into `x-inference-pool`. Must be made inside a running loop.
    """

    def __init__(self, image: Image, options: Options, catalogue: Catalogue, pod: str, pool: str) -> None:
        self.image = replace(image, max_model_len=options.max_model_len or image.max_model_len)
        self.options = options
        self.crashed = asyncio.Event()
        names = (image.served_name,) if image.served_name else options.names
        self.models = Models(options, catalogue, self.image, names)
        self.metrics = VllmMetrics(names[0], self.image.max_model_len, options.api_servers)
        limits = Limits(options.max_num_seqs, image.kv_cache_tokens, options.max_queued)
        self.engine = Engine(image.timing, limits, self.metrics)
        self.completions = Completions(self.image, self.models, self.engine, pod)
        self._headers = {"x-served-by": pod, "x-inference-pool": pool, "server": "simulated-vllm"}

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(middlewares=[self._front], client_max_size=LARGEST_BODY)
        app.on_response_prepare.append(self._finish_headers)
        app.add_routes(
            [
                web.post("/v1/completions", self._complete),
                web.post("/v1/chat/completions", self._complete_chat),
                web.get("/v1/models", self._list_models),
                web.post("/tokenize", self._tokenize),
                web.get("/health", self._health),
                web.get("/ping", self._health),
                web.post("/ping", self._health),
                web.get("/version", self._version),
                web.get("/metrics", self._metrics),
                web.get("/lab/faults", self._show_faults),
                web.post("/lab/faults", self._change_faults),
                web.post("/lab/crash", self._crash),
                web.post("/lab/crash-engine", self._crash_engine),
            ]
        )
        if self.options.runtime_lora:
            app.router.add_post("/v1/load_lora_adapter", self._load_adapter)
            app.router.add_post("/v1/unload_lora_adapter", self._unload_adapter)
        return app

    @web.middleware
    async def _front(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._may(request):
            return json_response({"error": "Unauthorized"}, status=401)
        resource = request.match_info.route.resource
        status = 200  # also of an answer whose client left before its end
        try:
            response = await self._answer(request, handler)
            status = response.status
        finally:
            self.metrics.http(resource.canonical if resource else "none", request.method, status)
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ProtocolError as error:
            return json_response(error.body(), status=error.status)
        except web.HTTPException as error:
            return json_response({"detail": error.reason}, status=error.status)

    def _may(self, request: web.Request) -> bool:
        keys = self.options.api_keys
        scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        return (
            not keys or not request.path.startswith(GUARDED) or (scheme.lower() == "bearer" and key in keys)
        )

    async def _finish_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)
        if response.headers.get(hdrs.CONTENT_TYPE) == NO_TYPE:
            del response.headers[hdrs.CONTENT_TYPE]

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self.completions.answer(request, await _parsed(request, CompletionRequest))

    async def _complete_chat(self, request: web.Request) -> web.StreamResponse:
        return await self.completions.answer(request, await _parsed(request, ChatRequest))

    async def _list_models(self, _: web.Request) -> web.Response:
        return json_response(self.models.listing())

    async def _tokenize(self, request: web.Request) -> web.Response:
        asked = (await _parsed(request, TokenizeRequest)).root
        self.models.resolve(asked.model)
        self.completions.require_open()
        if isinstance(asked, TokenizeChatRequest):
            text = chat_prompt(asked.messages, self.image)
        else:
            text = asked.prompt
        tokens = words.token_ids(text, self.image.characters_per_token)
        limit = self.image.max_model_len
        return json_response(
            {"count": len(tokens), "max_model_len": limit, "tokens": tokens, "token_strs": None}
        )

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.engine.dead else 200)

    async def _version(self, _: web.Request) -> web.Response:
        return json_response({"version": self.image.version, "simulated": True})

    async def _metrics(self, _: web.Request) -> web.Response:
        text = self.metrics.exposition(self.completions.faults.hides)
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    async def _load_adapter(self, request: web.Request) -> web.Response:
        asked = await _parsed(request, LoadAdapterRequest)
        self.models.load(asked.lora_name, asked.lora_path, in_place=asked.load_inplace)
        return web.Response(body=f"Success: LoRA adapter '{asked.lora_name}' added successfully.".encode())

    async def _unload_adapter(self, request: web.Request) -> web.Response:
        asked = await _parsed(request, UnloadAdapterRequest)
        self.models.unload(asked.lora_name)
        return web.Response(body=f"Success: LoRA adapter '{asked.lora_name}' removed successfully.".encode())

    async def _crash(self, _: web.Request) -> web.Response:
        """As SIGKILL: whoever runs this server is to end it at once."""
        self.crashed.set()
        return web.Response(status=202)

    async def _crash_engine(self, _: web.Request) -> web.Response:
        """As SIGKILL to the engine: all that runs fails, and soon the server ends as well."""
        self.engine.die()
        asyncio.get_running_loop().call_later(ENGINE_DEATH, self.crashed.set)
        return web.Response(status=202)

    async def _show_faults(self, _: web.Request) -> web.Response:
        return json_response(asdict(self.completions.faults))

    async def _change_faults(self, request: web.Request) -> web.Response:
        try:
            changes = json.loads(await request.read())
            if not isinstance(changes, dict):
                raise ValueError("the body must be a JSON object")
            self.completions.faults = self.completions.faults.changed(changes)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(str(error)) from error
        return await self._show_faults(request)


async def _parsed(request: web.Request, kind: type[Body]) -> Body:
    return parse(await request.read(), request.content_type, kind)
