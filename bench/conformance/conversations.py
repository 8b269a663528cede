"""What both servers are asked: right and wrong requests, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from bench.conformance.shapes import Reply

MODEL, ALIAS = "llama-3.1-8b", "llama-alias"
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"
PATIENCE = 300.0  # seconds; the first answer of a real server takes long
JSON = {"content-type": "application/json"}
_SAY: list[dict[str, str]] = [{"role": "user", "content": "Say hello."}]


@dataclass(frozen=True, slots=True)
class Request:
    """One request; a `body` that is no text is sent as JSON."""

    title: str
    path: str
    body: Any = None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)

    def ask(self, url: str) -> Reply:
        """A server's answer; status 0 when there is none."""
        data = self.body if isinstance(self.body, str | None) else json.dumps(self.body)
        try:
            answer = requests.request(
                self.method, url + self.path, data=data, headers=self.headers, timeout=PATIENCE
            )
        except requests.RequestException as error:
            return Reply(0, None, type(error).__name__)
        answer.encoding = "utf-8"
        return Reply.read(answer.status_code, answer.headers.get("content-type"), answer.text)


def conversations(adapters: str) -> dict[str, list[Request]]:
    """All of them by kind, in order, for servers that may load adapters from the folder `adapters`."""
    return {
        "paths and tokens": list(_simple()),
        "completions and chats": list(_answers()),
        "completions that are refused": list(_refusals()),
        "chats that are refused": list(_chats()),
        "adapters": list(_adapters(adapters)),
    }


def _simple() -> Iterator[Request]:
    for path in ("/v1/models", "/version", "/health", "/ping", "/v1/nothing", COMPLETIONS):
        yield Request(f"GET {path}", path, method="GET", headers={})
    yield Request("POST /ping", "/ping")
    yield Request("tokenize", "/tokenize", {"model": MODEL, "prompt": "def main"})
    yield Request("tokenize a chat", "/tokenize", {"model": MODEL, "messages": _SAY})
    yield Request("tokenize, unknown model", "/tokenize", {"model": "nope", "prompt": "x"})
    yield Request("tokenize nothing", "/tokenize", {"model": MODEL})


def _text(title: str, **changes: Any) -> Request:
    body = {"model": MODEL, "prompt": "def main", "max_tokens": 6, "temperature": 0, "ignore_eos": True}
    return Request(title, COMPLETIONS, {k: v for k, v in {**body, **changes}.items() if v is not ...})


def _chat(title: str, **changes: Any) -> Request:
    body = {"model": MODEL, "messages": _SAY, "max_tokens": 6, "temperature": 0, "ignore_eos": True}
    return Request(title, CHAT, {k: v for k, v in {**body, **changes}.items() if v is not ...})


def _answers() -> Iterator[Request]:
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    yield _text("a completion")
    yield _text("by the second served name", model=ALIAS)
    yield _text("without a model", model=...)
    yield _text("with an empty model", model="")
    yield _text("without max_tokens", max_tokens=...)
    yield _text("one token", max_tokens=1)
    yield _text("token ids", prompt=[5, 6, 7])
    yield _text("two prompts", prompt=["def main", "class A"])
    yield _text("two prompts of ids", prompt=[[5, 6], [7]])
    yield _text("two choices", n=2, temperature=1)
    yield _text("two choices of two prompts", n=2, temperature=1, prompt=["def main", "class A"])
    yield _text("as much as the context has room for", prompt=[5, 6, 7] * 330, max_tokens=1024)
    yield _text("a stream", stream=True)
    yield _text("a stream with usage", **usage)
    yield _text("a stream of one token", stream=True, max_tokens=1)
    yield _text("a stream of two choices", n=2, temperature=1, **usage)
    yield _chat("a chat")
    yield _chat("a chat with max_completion_tokens", max_tokens=..., max_completion_tokens=3)
    yield _chat("a chat of two choices", n=2, temperature=1)
    yield _chat("a streamed chat", stream=True)
    yield _chat("a streamed chat with usage", **usage)
    yield _chat("a streamed chat of one token", stream=True, max_tokens=1)


def _refusals() -> Iterator[Request]:
    yield _text("unknown model", model="no-such-model")
    yield _text("unknown model, streamed", model="no-such-model", stream=True)
    yield Request("not JSON", COMPLETIONS, '{"model": ')
    yield Request("no body", COMPLETIONS, "")
    yield Request("JSON but no object", COMPLETIONS, "[1]")
    yield Request("another content type", COMPLETIONS, "{}", headers={"content-type": "text/plain"})
    yield _text("no prompt", prompt=...)
    yield _text("an empty prompt", prompt="")
    yield _text("no prompts", prompt=[])
    yield _text("a prompt of a wrong type", prompt={"a": 1})
    yield _text("prompts of mixed types", prompt=["a", [1]])
    yield _text("a model of a wrong type", model=7)
    yield _text("max_tokens of a wrong type", max_tokens="many")
    yield _text("max_tokens 0", max_tokens=0)
    yield _text("max_tokens -1", max_tokens=-1)
    yield _text("max_tokens 0, streamed", max_tokens=0, stream=True)
    yield _text("max_tokens beyond the context", max_tokens=5000)
    yield _text("a prompt beyond the context", prompt="word " * 3000)
    yield _text("n 0", n=0)
    yield _text("n 2, greedy", n=2)
    yield _text("n of a wrong type", n="x")
    yield _text("temperature -1", temperature=-1)
    yield _text("temperature 3", temperature=3)
    yield _text("five stop strings", stop=["a", "b", "c", "d", "e"])
    yield _text("stop of a wrong type", stop=5)
    yield _text("stream_options without stream", stream_options={"include_usage": True})
    yield _text("stream of a wrong type", stream="perhaps")


def _chats() -> Iterator[Request]:
    yield _chat("unknown model, chat", model="no-such-model")
    yield _chat("no messages", messages=...)
    yield _chat("empty messages", messages=[])
    yield _chat("chat max_tokens 0", max_tokens=0)
    yield _chat("chat max_tokens beyond the context", max_tokens=5000)
    yield _chat("max_completion_tokens beyond the context", max_tokens=..., max_completion_tokens=5000)
    yield _chat("chat temperature -1", temperature=-1)


def _adapters(folder: str) -> Iterator[Request]:
    def load(title: str, name: str, path: str, **more: Any) -> Request:
        return Request(title, LOAD, {"lora_name": name, "lora_path": path, **more})

    def unload(title: str, **body: Any) -> Request:
        return Request(title, UNLOAD, body)

    yield load("load an adapter", "one", f"{folder}/fits")
    yield load("load it again", "one", f"{folder}/fits")
    yield load("load the name from another path", "one", f"{folder}/fits-too")
    yield load("load it in place", "one", f"{folder}/fits", load_inplace=True)
    yield load("load from nowhere", "two", "/nowhere/two")
    for name in ("empty", "bare", "rank-64", "strange", "other-width", "dora"):
        yield load(f"load {name}", name, f"{folder}/{name}")
    yield load("load one for another base that fits", "same-width", f"{folder}/same-width")
    yield load("load under the base model's name", MODEL, f"{folder}/fits-too")
    yield load("load without names", "", "")
    yield Request("load without a path", LOAD, {"lora_name": "x"})
    yield Request("load, not JSON", LOAD, "{")
    yield _text("a completion as adapter", model="one")
    yield _chat("a streamed chat as adapter", model="one", stream=True)
    yield _text("a completion as one that was refused", model="other-width")
    yield Request("models with adapters", "/v1/models", method="GET", headers={})
    yield unload("unload an adapter", lora_name="one")
    yield unload("unload it again", lora_name="one")
    yield unload("unload nothing")
    yield unload("unload an empty name", lora_name="")
    yield unload("unload the base model", lora_name=MODEL)
    yield _text("a completion as one that was unloaded", model="one")
    yield Request("models without it", "/v1/models", method="GET", headers={})
    yield unload("unload the other", lora_name="same-width")
    yield _text("an adapter that is resolved when it is asked for", model="fits-too")
    yield _text("one that is found and does not fit", model="rank-64")
    yield _text("one that is found, for another base", model="same-width")
    yield unload("unload what was resolved", lora_name="fits-too")
