"""What a real vLLM server said, said again by the simulated one: conversations and metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.conformance import exposition
from bench.conformance.answers import COUNTED
from bench.conformance.exposition import Page
from bench.conformance.shapes import differences
from lab.model_server.faults import Faults
from tests.support.lab.model_server import Server, run, until
from tests.support.lab.recorded import (
    RECORDED,
    RUNTIME,
    STORY,
    ask,
    conversations,
    page,
    said,
    simulated,
)

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="no recorded conversations here")

RESOLVER = {"VLLM_PLUGINS": "lora_filesystem_resolver", "VLLM_LORA_RESOLVER_CACHE_DIR": "/adapters/resolved"}


async def metrics(server: Server) -> Page:
    return Page.read((await server.get("/metrics"))[1])


async def compare(server: Server, conversation: dict[str, Any]) -> list[str]:
    """What one conversation comes to with the simulated server, where it is another than it was."""
    path = (conversation["request"].get("body") or {}).get("lora_path", "")
    reply = await ask(server, conversation["request"])
    title = conversation["title"]
    return [f"{title}: {each}" for each in differences(said(conversation), reply, path)]


def titled(part: str) -> dict[str, Any]:
    [conversation] = [each for each in conversations() if part in each["title"]]
    return conversation


def test_the_story_is_told_again_and_counted_alike() -> None:
    async def scenario() -> None:
        async with simulated(environment=RUNTIME) as server:
            assert list(exposition.differences(page("before"), await metrics(server), COUNTED)) == []
            await server.get("/v1/models")  # the recorded server was asked once more, before its story
            found = [each for one in conversations()[:STORY] for each in await compare(server, one)]
            assert found == []
            # The page was taken before the last conversations of the story.
            assert list(exposition.differences(page("after"), await metrics(server), COUNTED)) == []

    run(scenario)


def test_several_api_servers_tell_less() -> None:
    async def scenario() -> None:
        async with simulated("--api-server-count", "2") as server:
            await server.get("/v1/models")
            await server.get("/nowhere")
            for _ in range(6):
                await server.complete(model="llama-3.1-8b", max_tokens=4)
            real = page("two-api-servers")
            assert list(exposition.differences(real, await metrics(server), COUNTED)) == []

    run(scenario)


@pytest.mark.parametrize(
    ("part", "arguments", "environment"),
    [
        ("--api-key, no key", ("--api-key", "secret"), {}),
        ("VLLM_ALLOW_RUNTIME_LORA_UPDATING not set", (), {}),
        ("filesystem resolver", (), RUNTIME | RESOLVER),
    ],
)
def test_servers_with_other_options(
    part: str, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with simulated(*arguments, environment=environment) as server:
            assert await compare(server, titled(part)) == []

    run(scenario)


def test_a_full_queue_and_an_engine_that_dies() -> None:
    async def scenario() -> None:
        async with simulated("--max-num-queued-reqs", "1", faults=Faults(stall=1.0)) as server:
            waiting = asyncio.create_task(server.complete(model="llama-3.1-8b", max_tokens=9))
            await until(lambda: server.api.engine.running == 1)
            assert await compare(server, titled("queue full (--max-num-queued-reqs), whole")) == []
            waiting.cancel()
        async with simulated(faults=Faults(engine_error=1.0)) as server:
            assert await compare(server, titled("engine dies (worker killed) under a whole answer")) == []

    run(scenario)
