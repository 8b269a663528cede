"""The simulated vLLM server over HTTP: the protocol, its errors, adapters, faults, drain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from lab.model_server.api import Api
from lab.model_server.faults import Faults
from lab.model_server.images import Adapter, Catalogue, Image, Kind
from lab.model_server.options import parse_options
from lab.model_server.server import ModelServer
from lab.model_server.timing import Timing

BASE = "meta-llama/Llama-3.1-8B-Instruct"
ARGUMENTS = (f"--model={BASE}", "--served-model-name", "llama", "llama-alias", "--max-num-seqs=2")
QUICK = Timing(prefill_base=0.0, prefill_per_token=0.0, inter_token=0.0, warmup_extra=0.0, noise=0.0)
CATALOGUE = Catalogue(
    {},
    {
        "/adapters/sql": Adapter(8, BASE),
        "/adapters/large": Adapter(64, BASE),
        "/adapters/foreign": Adapter(8, "mistralai/Mistral-7B"),
        "/adapters/broken": Adapter(8, BASE, Faults(http_500=1.0)),
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
        async with self.session.post(self.url + path, data=data) as response:
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
    *more: str, environment: dict[str, str] | None = None, **image: Any
) -> AsyncIterator[Server]:
    described = Image(**{"kind": Kind.VLLM, "version": "0.11.0", "timing": QUICK, **image})
    options = parse_options([*ARGUMENTS, *more], environment)
    api = Api(described, options, CATALOGUE, "pod-a", "llm-pool")
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


def test_a_completion_has_the_shape_of_openais() -> None:
    async def scenario() -> None:
        async with serving() as server:
            status, body = await server.complete(max_tokens=5)
            assert status == 200
            assert body["object"] == "text_completion"
            assert body["model"] == "llama"
            assert body["id"].startswith("cmpl-")
            [choice] = body["choices"]
            assert choice["text"].strip()
            assert choice["finish_reason"] == "length"
            assert body["usage"] == {
                "prompt_tokens": 3,
                "completion_tokens": 5,
                "total_tokens": 8,
                "prompt_tokens_details": None,
            }

    run(scenario)


def test_a_chat_answer_is_a_message_of_the_assistant() -> None:
    async def scenario() -> None:
        async with serving() as server:
            messages = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
            body = {"model": "llama-alias", "messages": messages, "max_completion_tokens": 4}
            status, answer = await server.post("/v1/chat/completions", body)
            assert status == 200
            assert answer["object"] == "chat.completion"
            assert answer["model"] == "llama-alias"
            assert answer["choices"][0]["message"]["role"] == "assistant"
            assert answer["usage"]["completion_tokens"] == 4

    run(scenario)


def test_a_chat_template_s_prefix_counts_in_chats_alone() -> None:
    async def scenario() -> None:
        chat: dict[str, Any] = {"model": "llama", "messages": [{"role": "user", "content": "hi"}]}
        text = {"model": "llama", "prompt": "hi"}
        counted = []
        for prefix in ("", "x" * 40):
            async with serving(chat_prefix=prefix) as server:
                _, answer = await server.post("/v1/chat/completions", chat | {"max_tokens": 1})
                _, tokens = await server.post("/tokenize", chat)
                assert answer["usage"]["prompt_tokens"] == tokens["count"]
                _, plain = await server.post("/tokenize", text)
                counted.append((tokens["count"], plain["count"]))
        (before, plain), (after, same) = counted
        assert after == before + 10
        assert same == plain

    run(scenario)


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_stream_says_what_the_whole_answer_says(path: str) -> None:
    async def scenario() -> None:
        async with serving() as server:
            chat = "chat" in path
            content: dict[str, Any] = (
                {"messages": [{"role": "user", "content": "hi"}]} if chat else {"prompt": "hi"}
            )
            body = {"model": "llama", "max_tokens": 20, "ignore_eos": True, **content}
            _, whole = await server.post(path, body)
            events = await server.stream(path, body | {"stream_options": {"include_usage": True}})
            *chunks, usage, done = events
            assert done == "[DONE]"
            assert usage["choices"] == []
            assert usage["usage"] == whole["usage"]
            parts = [chunk["choices"][0] for chunk in chunks]
            text = "".join(part["delta"]["content"] if chat else part["text"] for part in parts)
            expected = whole["choices"][0]
            assert text == (expected["message"]["content"] if chat else expected["text"])
            assert [part["finish_reason"] for part in parts] == [None] * (len(parts) - 1) + ["length"]
            assert len({chunk["id"] for chunk in events[:-1]}) == 1

    run(scenario)


def test_answers_end_by_themselves_unless_told_not_to() -> None:
    async def scenario() -> None:
        async with serving(answer_tokens=10.0) as server:
            _, body = await server.complete(max_tokens=500)
            assert body["choices"][0]["finish_reason"] == "stop"
            assert body["usage"]["completion_tokens"] < 500
            _, body = await server.complete(max_tokens=500, ignore_eos=True)
            assert body["choices"][0]["finish_reason"] == "length"
            assert body["usage"]["completion_tokens"] == 500

    run(scenario)


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/v1/completions", {"model": "nobody", "prompt": "x"}, 404, "NotFoundError"),
        ("/v1/chat/completions", {"model": "nobody", "messages": [{"role": "user"}]}, 404, "NotFoundError"),
        ("/v1/completions", '{"model": ', 400, "BadRequestError"),
        ("/v1/completions", "[]", 400, "BadRequestError"),
        ("/v1/completions", {"model": "llama"}, 400, "BadRequestError"),
        ("/v1/completions", {"model": 7, "prompt": "x"}, 400, "BadRequestError"),
        ("/v1/completions", {"model": "llama", "prompt": "x", "max_tokens": 0}, 400, "BadRequestError"),
        ("/v1/completions", {"model": "llama", "prompt": "x", "max_tokens": 200_000}, 400, "BadRequestError"),
        ("/v1/completions", {"model": "llama", "prompt": "x", "n": 2}, 400, "BadRequestError"),
        (
            "/v1/completions",
            {"model": "llama", "prompt": "x", "stream_options": {"a": 1}},
            400,
            "BadRequestError",
        ),
        ("/v1/chat/completions", {"model": "llama", "messages": []}, 400, "BadRequestError"),
        ("/v1/chat/completions", {"model": "llama", "messages": ["hi"]}, 400, "BadRequestError"),
        ("/v1/completions", {"model": "llama", "prompt": "x", "stream_options": [1]}, 400, "BadRequestError"),
        ("/tokenize", {"model": "nobody", "prompt": "x"}, 404, "NotFoundError"),
    ],
)
def test_refusals_carry_an_openai_error(path: str, body: Any, status: int, kind: str) -> None:
    async def scenario() -> None:
        async with serving() as server:
            answered, error = await server.post(path, body)
            assert (answered, error["error"]["code"], error["error"]["type"]) == (status, status, kind)

    run(scenario)


def test_it_says_that_it_is_simulated_and_who_it_is() -> None:
    async def scenario() -> None:
        async with serving() as server:
            assert await server.get("/version") == (200, {"version": "0.11.0", "simulated": True})
            assert await server.get("/health") == (200, "")
            async with server.session.get(server.url + "/v1/models") as response:
                assert response.headers["x-served-by"] == "pod-a"
                assert response.headers["x-inference-pool"] == "llm-pool"
                cards = (await response.json())["data"]
            assert [(card["id"], card["root"], card["parent"]) for card in cards] == [
                ("llama", BASE, None),
                ("llama-alias", BASE, None),
            ]

    run(scenario)


def test_tokenize_counts_as_usage_does() -> None:
    async def scenario() -> None:
        async with serving() as server:
            _, tokenized = await server.post("/tokenize", {"model": "llama", "prompt": "hello there"})
            _, body = await server.complete()
            assert tokenized["count"] == len(tokenized["tokens"]) == body["usage"]["prompt_tokens"]

    run(scenario)


LOADED = "Success: LoRA adapter 'sql' added successfully."
ALLOWED = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}


def test_adapters_are_loaded_served_and_unloaded() -> None:
    async def scenario() -> None:
        async with serving("--enable-lora", environment=ALLOWED) as server:
            load = {"lora_name": "sql", "lora_path": "/adapters/sql"}
            assert (await server.complete(model="sql"))[0] == 404
            assert await server.post("/v1/load_lora_adapter", load) == (200, LOADED)
            _, models = await server.get("/v1/models")
            assert [(card["id"], card["parent"]) for card in models["data"]][-1] == ("sql", "llama")
            status, body = await server.complete(model="sql")
            assert (status, body["model"]) == (200, "sql")
            assert (await server.post("/v1/unload_lora_adapter", {"lora_name": "sql"}))[0] == 200
            assert (await server.complete(model="sql"))[0] == 404

    run(scenario)


@pytest.mark.parametrize(
    ("action", "name", "path", "status"),
    [
        ("load", "there", "/adapters/sql", 400),
        ("load", "new", "/nowhere", 404),
        ("load", "new", "/adapters/large", 400),
        ("load", "new", "/adapters/foreign", 400),
        ("load", "", "/adapters/sql", 400),
        ("unload", "new", "", 404),
        ("unload", "", "", 400),
    ],
)
def test_adapters_are_refused_as_vllm_refuses_them(action: str, name: str, path: str, status: int) -> None:
    async def scenario() -> None:
        more = ("--enable-lora", "--lora-modules", "there=/adapters/sql")
        async with serving(*more, environment=ALLOWED) as server:
            body = {"lora_name": name, "lora_path": path}
            assert (await server.post(f"/v1/{action}_lora_adapter", body))[0] == status

    run(scenario)


def test_adapters_cannot_be_loaded_without_permission() -> None:
    async def scenario() -> None:
        async with serving("--enable-lora") as server:
            body = {"lora_name": "sql", "lora_path": "/adapters/sql"}
            assert await server.post("/v1/load_lora_adapter", body) == (404, {"detail": "Not Found"})

    run(scenario)


def test_a_resolver_loads_an_adapter_when_it_is_first_asked_for() -> None:
    resolver = {"VLLM_PLUGINS": "lora_filesystem_resolver", "VLLM_LORA_RESOLVER_CACHE_DIR": "/adapters"}

    async def scenario() -> None:
        async with serving("--enable-lora", environment=ALLOWED | resolver) as server:
            _, before = await server.get("/v1/models")
            assert (await server.complete(model="sql"))[0] == 200
            assert (await server.complete(model="large"))[0] == 404
            _, after = await server.get("/v1/models")
            assert [card["id"] for card in after["data"][len(before["data"]) :]] == ["sql"]
        async with serving("--enable-lora", environment=resolver) as server:
            assert (await server.complete(model="sql"))[0] == 404

    run(scenario)


def test_an_adapter_may_be_broken_while_its_base_is_not() -> None:
    async def scenario() -> None:
        async with serving("--enable-lora", "--lora-modules=bad=/adapters/broken") as server:
            assert (await server.complete(model="bad"))[0] == 500
            assert (await server.complete())[0] == 200

    run(scenario)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_injected_statuses(status: int) -> None:
    async def scenario() -> None:
        async with serving(faults=Faults().changed({f"http_{status}": 1.0})) as server:
            assert (await server.complete())[0] == status
            assert (await server.get("/health"))[0] == 200

    run(scenario)


def test_injected_faults_come_at_their_rate_and_again_the_same() -> None:
    async def statuses() -> list[int]:
        async with serving(faults=Faults(http_500=0.25)) as server:
            return [(await server.complete(max_tokens=1))[0] for _ in range(400)]

    first, second = asyncio.run(statuses()), asyncio.run(statuses())
    assert first == second
    assert 70 <= first.count(500) <= 130


def test_wrong_answers() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(empty=1.0)) as server:
            assert (await server.complete())[1]["choices"][0]["text"] == ""
        async with serving(faults=Faults(wrong_model=1.0)) as server:
            assert (await server.complete())[1]["model"] != "llama"
        async with serving(faults=Faults(garbled=1.0)) as server:
            assert "\ufffd" in (await server.complete())[1]["choices"][0]["text"]

    run(scenario)


def test_a_cut_breaks_the_connection_in_the_middle() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(cut=1.0)) as server:
            received = bytearray()
            body = {"model": "llama", "prompt": "x", "max_tokens": 40, "stream": True, "ignore_eos": True}

            async def read() -> None:
                async with server.session.post(server.url + "/v1/completions", json=body) as response:
                    async for chunk in response.content.iter_any():
                        received.extend(chunk)

            with pytest.raises(aiohttp.ClientError):
                await read()
            assert b"data: " in received
            assert b"[DONE]" not in received
            assert await server.metric(_success("abort")) == 1

    run(scenario)


def test_a_hang_answers_nothing_until_the_client_gives_up() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(hang=1.0)) as server:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await server.complete()
            await asyncio.wait_for(server.api.idle.wait(), 5)

    run(scenario)


def test_faults_change_while_it_runs_and_nonsense_is_refused() -> None:
    async def scenario() -> None:
        async with serving() as server:
            status, faults = await server.post("/lab/faults", {"http_503": 1})
            assert (status, faults["http_503"]) == (200, 1.0)
            assert (await server.complete())[0] == 503
            for nonsense in ({"http_503": 2}, {"nope": 1}, {"cut": "x"}, {"hang": 0.5}, [1], "{"):
                assert (await server.post("/lab/faults", nonsense))[0] == 400
            assert (await server.post("/lab/faults", {"http_503": 0}))[0] == 200
            assert (await server.complete())[0] == 200

    run(scenario)


def _success(reason: str) -> str:
    return f'vllm:request_success_total{{engine="0",model_name="llama",finished_reason="{reason}"}}'


def _series(name: str) -> str:
    return f'{name}{{engine="0",model_name="llama"}}'


def _http(status: str) -> str:
    return f'http_requests_total{{handler="/v1/completions",method="POST",status="{status}"}}'


def test_counters_count_what_happened() -> None:
    async def scenario() -> None:
        async with serving() as server:
            assert await server.metric(_success("length")) == 0
            assert await server.metric(_http("5xx")) is None
            for _ in range(3):
                await server.complete(max_tokens=20, ignore_eos=True)
            await server.complete(model="nobody")
            await server.post("/lab/faults", {"http_500": 1})
            await server.complete()
            assert await server.metric(_success("length")) == 3
            assert await server.metric(_series("vllm:generation_tokens_total")) == 60
            assert await server.metric(_series("vllm:prompt_tokens_total")) == 9
            assert await server.metric(_series("vllm:time_to_first_token_seconds_count")) == 3
            assert await server.metric(_series("vllm:inter_token_latency_seconds_count")) == 57
            assert await server.metric(_http("2xx")) == 3
            assert await server.metric(_http("4xx")) == 1
            assert await server.metric(_http("5xx")) == 1
            assert await server.metric(_series("vllm:num_requests_running")) == 0

    run(scenario)


def test_metrics_can_be_missing() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(hidden_metrics=("vllm:time_to_first*", "http_*"))) as server:
            await server.complete()
            _, text = await server.get("/metrics")
            assert "time_to_first_token" not in text
            assert "http_requests_total" not in text
            assert "vllm:e2e_request_latency_seconds_count" in text

    run(scenario)


def test_a_drain_takes_requests_for_a_moment_then_refuses_and_finishes_streams() -> None:
    async def scenario() -> None:
        slow = Timing(prefill_base=0.05, inter_token=0.01, warmup_extra=0.0, noise=0.0)
        async with serving(timing=slow) as server:
            request = asyncio.create_task(server.complete(max_tokens=300, ignore_eos=True))
            await until(lambda: not server.api.idle.is_set())
            lingering = asyncio.create_task(server.server.drain(60.0, linger=60.0))
            await until(lambda: server.api.draining)
            assert (await server.get("/health"))[0] == 503
            assert (await server.complete(max_tokens=1))[0] == 200
            lingering.cancel()
            drain = asyncio.create_task(server.server.drain(60.0, linger=0.0))
            await until(lambda: server.api.refusing)
            assert (await server.complete())[0] == 503
            status, body = await request
            assert (status, body["usage"]["completion_tokens"]) == (200, 300)
            await drain

    run(scenario)


def test_a_drain_ends_with_its_grace() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(hang=1.0)) as server:
            request = asyncio.create_task(server.complete())
            await until(lambda: not server.api.idle.is_set())
            await asyncio.wait_for(server.server.drain(0.1), 5)
            await server.server.stop()
            with pytest.raises(aiohttp.ClientError):
                await request

    run(scenario)
