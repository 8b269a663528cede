"""Model servers that do as they are told: answer well, badly, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

MODEL = "llama"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def event(text: str, reason: str | None = None, model: str = MODEL) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return f"data: {json.dumps({'model': model, 'choices': [choice]})}\n\n".encode()


COUNTS = b'{"prompt_tokens":3,"completion_tokens":5}'

USAGE = b'data: {"model":"llama","choices":[],"usage":' + COUNTS + b"}\n\ndata: [DONE]\n\n"


def streaming(*chunks: bytes, pause: float = 0.0) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"x-served-by": "pod-a", "x-inference-pool": "llm-pool"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(pause)
        return response

    return handler


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(event("a "))
    assert request.transport
    request.transport.abort()
    return response


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.abort()
    return web.Response()


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


def answering(status: int) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="no")

    return handler


good = streaming(event("a "), event("b ", "stop") + USAGE)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
