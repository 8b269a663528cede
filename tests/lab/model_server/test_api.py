"""The simulated vLLM server over HTTP: the protocol and its errors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lab.model_server.faults import Faults
from tests.support.lab.model_server import BASE, run, serving, success_series, until


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
                "completion_tokens_details": None,
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
            assert answer["model"] == "llama", "the first served name, whichever was asked for"
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
            counts = ("prompt_tokens", "total_tokens", "completion_tokens")
            assert usage["usage"] == {key: whole["usage"][key] for key in counts}
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


COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
HI = {"model": "llama", "prompt": "hi"}


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "param", "words"),
    [
        (
            COMPLETIONS,
            {**HI, "model": "nobody"},
            404,
            "NotFoundError",
            "model",
            "Valid aliases: llama, llama-alias.",
        ),
        (CHAT, {"model": "nobody", "messages": [{"role": "user"}]}, 404, "NotFoundError", "model", "nobody"),
        ("/tokenize", {**HI, "model": "nobody"}, 404, "NotFoundError", "model", "nobody"),
        (COMPLETIONS, '{"model": ', 400, "Bad Request", "body.10", "'JSON decode error'"),
        (COMPLETIONS, "[]", 400, "Bad Request", "body", "Input should be a valid dictionary or object"),
        (COMPLETIONS, {"model": "llama"}, 400, "BadRequestError", "prompt", "must be provided and non-empty"),
        (
            COMPLETIONS,
            {**HI, "prompt": ""},
            400,
            "BadRequestError",
            "prompt",
            "must be provided and non-empty",
        ),
        (COMPLETIONS, "", 400, "Bad Request", "body", "'missing'"),
        (COMPLETIONS, {**HI, "prompt": []}, 400, "BadRequestError", None, "at least one prompt"),
        ("/tokenize", {"model": "llama"}, 400, "Bad Request", "body.prompt", "2 validation errors:"),
        (COMPLETIONS, {**HI, "prompt": {"a": 1}}, 400, "Bad Request", "body.prompt", "4 validation errors:"),
        (COMPLETIONS, {**HI, "model": 7}, 400, "Bad Request", "body.model", "Input should be a valid string"),
        (COMPLETIONS, {**HI, "max_tokens": "x"}, 400, "Bad Request", "body.max_tokens", "'int_parsing'"),
        (COMPLETIONS, {**HI, "max_tokens": 0}, 400, "BadRequestError", "max_tokens", "at least 1, got 0."),
        (
            COMPLETIONS,
            {**HI, "max_tokens": 200_000},
            400,
            "BadRequestError",
            "max_tokens",
            "greater than max_",
        ),
        (
            COMPLETIONS,
            {**HI, "prompt": "x" * 700_000},
            400,
            "BadRequestError",
            "input_tokens",
            "at least 131073",
        ),
        (COMPLETIONS, {**HI, "temperature": -1}, 400, "BadRequestError", "temperature", "non-negative"),
        (COMPLETIONS, {**HI, "n": 0}, 400, "BadRequestError", None, "n must be at least 1"),
        (
            COMPLETIONS,
            {**HI, "stop": ["x"] * 5},
            400,
            "Bad Request",
            "body.stop",
            "List should have at most 4",
        ),
        (
            COMPLETIONS,
            {**HI, "stream_options": {"a": 1}},
            400,
            "BadRequestError",
            "stream_options",
            "stream=True",
        ),
        (CHAT, {"model": "llama", "messages": []}, 400, "BadRequestError", None, "an empty conversation"),
        (CHAT, {"model": "llama"}, 400, "Bad Request", "body.messages", "Field required"),
        (CHAT, {"model": "llama", "messages": ["hi"]}, 400, "Bad Request", "body.messages.0", "dictionary"),
    ],
)
def test_refusals_are_vllms(
    path: str, body: Any, status: int, kind: str, param: str | None, words: str
) -> None:
    async def scenario() -> None:
        async with serving() as server:
            answered, said = await server.post(path, body)
            error = said["error"]
            assert (answered, error["code"]) == (status, status)
            assert (error["type"], error["param"]) == (kind, param)
            assert words in error["message"]

    run(scenario)


def test_only_json_is_taken() -> None:
    async def scenario() -> None:
        async with (
            serving() as server,
            server.session.post(server.url + COMPLETIONS, data=json.dumps(HI).encode()) as response,
        ):
            error = (await response.json())["error"]
            assert (response.status, error["type"], error["param"]) == (400, "Bad Request", None)
            assert "Unsupported Media Type" in error["message"]

    run(scenario)


def test_an_answer_that_would_leave_the_context_is_cut_to_it() -> None:
    async def scenario() -> None:
        async with serving(max_model_len=10) as server:
            _, body = await server.complete(max_tokens=10, ignore_eos=True)
            assert body["usage"]["completion_tokens"] == 10 - body["usage"]["prompt_tokens"]

    run(scenario)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompts", [["one", "two", "three"], [[1, 2, 3], [4], [5]]])
def test_each_prompt_has_as_many_choices_as_were_asked_for(prompts: list[Any], stream: bool) -> None:
    async def scenario() -> None:
        async with serving() as server:
            body = {"model": "llama", "prompt": prompts, "n": 2, "max_tokens": 20}
            if stream:
                events = await server.stream(COMPLETIONS, body | {"stream_options": {"include_usage": True}})
                *chunks, usage, done = events
                assert done == "[DONE]"
                ends = [each["choices"][0] for each in chunks if each["choices"][0]["finish_reason"]]
                counts = usage["usage"]
            else:
                _, whole = await server.post(COMPLETIONS, body)
                ends, counts = whole["choices"], whole["usage"]
                assert len({each["text"] for each in ends}) == 6
            assert sorted(each["index"] for each in ends) == [0, 1, 2, 3, 4, 5]
            assert counts["completion_tokens"] <= 6 * 20
            reasons = [await server.metric(success_series(each)) or 0 for each in ("stop", "length")]
            assert sum(reasons) == 6

    run(scenario)


def test_an_answer_ends_before_a_string_that_was_to_stop_it() -> None:
    async def scenario() -> None:
        async with serving() as server:
            _, whole = await server.complete(max_tokens=30, ignore_eos=True)
            text = whole["choices"][0]["text"]
            stop = text[50:56]
            expected = text[: text.index(stop)]
            _, body = await server.complete(max_tokens=30, ignore_eos=True, stop=["?", stop])
            [choice] = body["choices"]
            assert (choice["text"], choice["finish_reason"]) == (expected, "stop")
            assert choice["stop_reason"] == stop
            asked = {"model": "llama", "prompt": "hello there", "max_tokens": 30, "ignore_eos": True}
            *chunks, _ = await server.stream(COMPLETIONS, asked | {"stop": stop})
            assert "".join(each["choices"][0]["text"] for each in chunks) == expected

    run(scenario)


def test_a_stream_begins_before_its_first_token() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(hang=1.0)) as server:
            body = {**HI, "stream": True}
            async with server.session.post(server.url + COMPLETIONS, json=body) as response:
                assert response.status == 200
                assert response.headers["content-type"] == "text/event-stream; charset=utf-8"

    run(scenario)


def test_whoever_finds_the_queue_full_is_told_to_go_elsewhere() -> None:
    """Before a stream has begun by its status, later by an event: the second of two prompts comes later."""

    async def scenario() -> None:
        async with serving("--max-num-queued-reqs=1", faults=Faults(stall=1.0)) as server:
            waiting = asyncio.create_task(server.complete())
            await until(lambda: server.api.engine.running == 1)
            for stream in (False, True):
                status, body = await server.complete(stream=stream)
                assert (status, body["error"]["type"]) == (503, "Service Unavailable")
            waiting.cancel()
            await asyncio.wait_for(server.api.completions.idle.wait(), 60)
            [error, done] = await server.stream(COMPLETIONS, {**HI, "prompt": ["one", "two"]})
            assert (error["error"]["code"], done) == (503, "[DONE]")
            series = 'vllm:admission_rejections_total{model_name="llama",reason="max_num_queued_reqs"}'
            assert await server.metric(series) == 3
            assert await server.metric(success_series("length")) == 0

    run(scenario)


def test_an_api_key_is_wanted_for_v1_alone_and_who_lacks_it_is_not_counted() -> None:
    async def scenario() -> None:
        async with serving("--api-key", "one", "two") as server:
            assert await server.get("/v1/models") == (401, {"error": "Unauthorized"})
            assert (await server.get("/health"))[0] == 200
            _, page = await server.get("/metrics")
            assert "http_requests_total{" not in page
            for key, status in (("two", 200), ("three", 401)):
                headers = {"authorization": f"Bearer {key}"}
                async with server.session.get(server.url + "/v1/models", headers=headers) as response:
                    assert response.status == status

    run(scenario)


def test_an_engine_that_dies_takes_the_server_with_it() -> None:
    async def scenario() -> None:
        async with serving(faults=Faults(stall=1.0)) as server:
            assert (await server.post("/lab/crash-engine", {}))[0] == 202
            status, body = await server.complete()
            assert (status, body["error"]["type"]) == (500, "InternalServerError")
            assert (await server.get("/health"))[0] == 503
            await asyncio.wait_for(server.api.crashed.wait(), 60)

    run(scenario)


def test_it_says_that_it_is_simulated_and_who_it_is() -> None:
    async def scenario() -> None:
        async with serving() as server:
            assert await server.get("/version") == (200, {"version": "0.32.0", "simulated": True})
            assert await server.get("/health") == await server.get("/ping") == (200, "")
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
