"""The OpenAI protocol as vLLM speaks it: bodies and server-sent events of answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.model_server.errors import ProtocolError

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Said:
    """One whole choice."""

    text: str
    finish_reason: str
    stop_reason: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What every body and event about one request shares. `created` is a Unix time in seconds."""

    chat: bool
    identity: str
    created: int
    model: str
    prompt_tokens: int
    fingerprint: str

    def whole(self, choices: Iterable[Said], tokens: int) -> dict[str, Any]:
        """The body of an answer that was not streamed."""
        kind = "chat.completion" if self.chat else "text_completion"
        details = {"prompt_tokens_details": None, "completion_tokens_details": None}
        return {
            **self._head(kind),
            "choices": [self._choice(index, said) for index, said in enumerate(choices)],
            "service_tier": None,
            "system_fingerprint": self.fingerprint,
            "usage": self._usage(tokens) | details,
            **(dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text")) if self.chat else {}),
            **dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "metrics")),
        }

    def _choice(self, index: int, said: Said) -> dict[str, Any]:
        message = {"role": "assistant", "content": said.text}
        unused = ("refusal", "annotations", "audio", "function_call", "reasoning")
        content = {"message": message | dict.fromkeys(unused)} if self.chat else {"text": said.text}
        more = () if self.chat else ("prompt_logprobs", "prompt_token_ids")
        return {
            "index": index,
            **content,
            "logprobs": None,
            "finish_reason": said.finish_reason,
            "stop_reason": said.stop_reason,
            **dict.fromkeys(("token_ids", *more, "routed_experts")),
        }

    def _usage(self, tokens: int) -> dict[str, Any]:
        total = self.prompt_tokens + tokens
        return {"prompt_tokens": self.prompt_tokens, "total_tokens": total, "completion_tokens": tokens}

    def opening_event(self, index: int) -> bytes:
        """A chat choice's first event, which only names the role."""
        if not self.chat:
            return b""
        delta = {"role": "assistant", "content": ""}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        unused = dict.fromkeys(("prompt_token_ids", "prompt_text"))
        return _event({**self._head(self._chunk_kind()), "choices": [choice], **unused})

    def usage_event(self, tokens: int) -> bytes:
        """The last event before DONE when usage was asked for."""
        counts = {"choices": [], "usage": self._usage(tokens), "system_fingerprint": self.fingerprint}
        return _event({**self._head(self._chunk_kind()), **counts})

    def events(self, index: int, *, fingerprint: bool) -> Events:
        """The writer of one choice's events; with `fingerprint` its last has it."""
        return Events(self, index, f',"system_fingerprint":"{self.fingerprint}"' if fingerprint else "")

    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.identity, "object": kind, "created": self.created, "model": self.model}


class Events:
    """Text events of one choice, put together from parts that were encoded once."""

    def __init__(self, answer: Answer, index: int, ending: str) -> None:
        head = json.dumps(answer._head(answer._chunk_kind()), separators=(",", ":"))[:-1]
        opening, closing = ('"delta":{"content":', "}") if answer.chat else ('"text":', "")
        self._chat, self._ending = answer.chat, ending
        self._before = f'data: {head},"choices":[{{"index":{index},{opening}'
        self._between = f'{closing},"logprobs":null,"finish_reason":'
        self._after = ',"token_ids":null' if answer.chat else ',"prompt_token_ids":null,"token_ids":null'

    def text(self, text: str) -> bytes:
        """An event in the middle."""
        stop = "" if self._chat else ',"stop_reason":null'
        return f"{self._before}{json.dumps(text)}{self._between}null{stop}{self._after}}}]}}\n\n".encode()

    def last(self, said: Said) -> bytes:
        """The choice's last event, with the end of its text."""
        reasons = f'"{said.finish_reason}","stop_reason":{json.dumps(said.stop_reason)}'
        text = f"{self._before}{json.dumps(said.text)}{self._between}{reasons}{self._after}"
        return f"{text}}}]{self._ending}}}\n\n".encode()


def error_event(error: ProtocolError) -> bytes:
    """How a stream tells of a failure once its headers are out."""
    return f"data: {json.dumps(error.body())}\n\n".encode()


def _event(body: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(body, separators=(',', ':'))}\n\n".encode()
