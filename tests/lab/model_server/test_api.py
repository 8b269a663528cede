"""The simulated vLLM server over HTTP: the protocol and its errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.lab.model_server import BASE, run, serving


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
