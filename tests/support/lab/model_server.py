"""A simulated model server on a port of its own, and a client of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from lab.model_server.api import Api
from lab.model_server.faults import Faults
from lab.model_server.images import Adapter, Catalogue, Image, Kind
from lab.model_server.options import parse_options
from lab.model_server.server import ModelServer
from lab.model_server.timing import Timing

BASE = "meta-llama/Llama-3.1-8B-Instruct"

ARGUMENTS = ("vllm", "serve", BASE, "--served-model-name", "llama", "llama-alias", "--max-num-seqs=2")

JSON = {"content-type": "application/json"}

QUICK = Timing(prefill_base=0.0, prefill_per_token=0.0, inter_token=0.0, warmup_extra=0.0, noise=0.0)

CATALOGUE = Catalogue(
    {},
    {
        "/adapters/sql": Adapter(8, BASE),
        "/adapters/large": Adapter(64, BASE),
        "/adapters/foreign": Adapter(8, "google/gemma-2-9b-it", hidden_size=3584),
        "/adapters/cousin": Adapter(8, "mistralai/Mistral-7B-Instruct-v0.3"),
        "/adapters/strange": Adapter(8, BASE, modules=("q_proj", "mlp.fancy_proj")),
        "/adapters/dora": Adapter(8, BASE, dora=True),
        "/adapters/bare": Adapter(8, BASE, weights=False),
        "/adapters/broken": Adapter(8, BASE, faults=Faults(http_500=1.0)),
    },
)


class Server:
    """A running server and a client of it."""

    def __init__(self, api: Api, server: ModelServer, url: str, session: aiohttp.ClientSession) -> None:
        self.api, self.server, self.url, self.session = api, server, url, session

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def post(self, path: str, body: Any) -> tuple[int, Any]:
        data = body if isinstance(body, str) else json.dumps(body)
        async with self.session.post(self.url + path, data=data, headers=JSON) as response:
            text = await response.text()
            return response.status, json.loads(text) if text.startswith("{") else text

    async def complete(self, **body: Any) -> tuple[int, Any]:
        return await self.post("/v1/completions", {"model": "llama", "prompt": "hello there", **body})

    async def stream(self, path: str, body: Any) -> list[Any]:
        async with self.session.post(self.url + path, json={**body, "stream": True}) as response:
            text = await response.text()
        events = [event.removeprefix("data: ") for event in text.split("\n\n") if event]
        return [json.loads(event) if event != "[DONE]" else event for event in events]

    async def metric(self, series: str) -> float | None:
        _, text = await self.get("/metrics")
        values = [line.rpartition(" ")[2] for line in text.splitlines() if line.rpartition(" ")[0] == series]
        return float(values[0]) if values else None


@asynccontextmanager
async def serving(
    *more: str,
    environment: dict[str, str] | None = None,
    arguments: tuple[str, ...] = ARGUMENTS,
    catalogue: Catalogue = CATALOGUE,
    **image: Any,
) -> AsyncIterator[Server]:
    described = Image(**{"kind": Kind.VLLM, "version": "0.32.0", "timing": QUICK, **image})
    options = parse_options([*arguments, *more], environment)
    api = Api(described, options, catalogue, "pod-a", "llm-pool")
    server = ModelServer(api)
    port = await server.listen("127.0.0.1", 0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        try:
            yield Server(api, server, f"http://127.0.0.1:{port}", session)
        finally:
            await server.stop()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition belongs to the code under test
        await asyncio.sleep(0.005)


def success_series(reason: str) -> str:
    return f'vllm:request_success_total{{engine="0",finished_reason="{reason}",model_name="llama"}}'
