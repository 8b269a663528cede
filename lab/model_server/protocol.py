"""The OpenAI protocol as vLLM speaks it: requests in, bodies and server-sent events out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DONE = b"data: [DONE]\n\n"


class ProtocolError(Exception):
    """A request that is answered with an error body; carries vLLM's status and error type."""

    def __init__(self, message: str, status: int = 400, kind: str = "BadRequestError") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind

    def body(self) -> dict[str, Any]:
        """The OpenAI error body."""
        return {"error": {"message": str(self), "type": self.kind, "param": None, "code": self.status}}


@dataclass(frozen=True, slots=True)
class Completion:
    """A validated request for a completion; `model` None stands for the base model."""

    chat: bool
    model: str | None
    prompt: str
    max_tokens: int | None
    stream: bool
    include_usage: bool
    ignore_eos: bool


def parse_completion(body: Mapping[str, Any], *, chat: bool) -> Completion:
    """Raises ProtocolError as vLLM refuses the body."""
    options = _typed(body, "stream_options", dict) or {}
    stream = _typed(body, "stream", bool) or False
    if options and not stream:
        raise ProtocolError("Stream options can only be defined when `stream=True`.")
    max_tokens = _typed(body, "max_tokens", int)
    if chat and body.get("max_completion_tokens") is not None:
        max_tokens = _typed(body, "max_completion_tokens", int)
    if max_tokens is not None and max_tokens < 1:
        raise ProtocolError(f"max_tokens must be at least 1, got {max_tokens}.")
    if (_typed(body, "n", int) or 1) != 1:
        raise ProtocolError("this simulated server makes one choice (n=1)")
    return Completion(
        chat=chat,
        model=_typed(body, "model", str),
        prompt=prompt_text(body),
        max_tokens=max_tokens if chat or max_tokens is not None else 16,
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        ignore_eos=_typed(body, "ignore_eos", bool) or False,
    )


def prompt_text(body: Mapping[str, Any]) -> str:
    """The text of `prompt`, or of `messages` one after the other with their roles."""
    if "messages" in body:
        return _messages_text(body["messages"])
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if not isinstance(prompt, str):
        raise ProtocolError("`prompt` must be one string, or use `messages`")
    return prompt


def _messages_text(messages: Any) -> str:
    if not isinstance(messages, list) or not messages:
        raise ProtocolError("`messages` must be a list of at least one message")
    parts = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ProtocolError("each message needs a `role`")
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
        if not isinstance(content, str):
            raise ProtocolError("a message's `content` must be text")
        parts.append(f"<|{message['role']}|>\n{content}\n")
    return "".join(parts)


def _typed(body: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = body.get(name)
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise ProtocolError(f"`{name}` must be of type {kind.__name__}")
    return value


@dataclass(frozen=True, slots=True)
class Answer:
    """What every body and event about one completion shares. `created` is a Unix time in seconds."""

    chat: bool
    identity: str
    created: int
    model: str
    prompt_tokens: int

    def whole(self, text: str, tokens: int, finish_reason: str) -> dict[str, Any]:
        """The body of an answer that was not streamed."""
        content: dict[str, Any] = {"text": text}
        if self.chat:
            content = {"message": {"role": "assistant", "content": text}}
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(kind), "choices": [choice], "usage": self.usage(tokens)}

    def usage(self, tokens: int) -> dict[str, Any]:
        """Token counts after `tokens` tokens of answer."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + tokens,
            "completion_tokens": tokens,
            "prompt_tokens_details": None,
        }

    def events(self) -> Events:
        """The writer of this answer's server-sent events."""
        return Events(self)

    def usage_event(self, tokens: int) -> bytes:
        """The last event before DONE when usage was asked for."""
        return _event({**self._head(self._chunk_kind()), "choices": [], "usage": self.usage(tokens)})

    def opening_event(self) -> bytes:
        """A chat's first event, which only names the role."""
        delta = {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return _event({**self._head(self._chunk_kind()), "choices": [choice]}) if self.chat else b""

    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.identity, "object": kind, "created": self.created, "model": self.model}


class Events:
    """Text events of one answer, put together from parts that were encoded once."""

    def __init__(self, answer: Answer) -> None:
        head = json.dumps(answer._head(answer._chunk_kind()), separators=(",", ":"))[:-1]
        opening, closing = ('"delta":{"content":', "}") if answer.chat else ('"text":', "")
        self._before = f'data: {head},"choices":[{{"index":0,{opening}'
        self._between = f'{closing},"logprobs":null,"finish_reason":'

    def text(self, text: str, finish_reason: str | None = None) -> bytes:
        """One event; `finish_reason` marks the last."""
        reason = f'"{finish_reason}"' if finish_reason else "null"
        return f"{self._before}{json.dumps(text)}{self._between}{reason}}}]}}\n\n".encode()


def _event(body: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()
