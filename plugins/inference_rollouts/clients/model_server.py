"""Model servers, spoken to directly as their clients speak to them (OpenAI API, streamed)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import requests

from inference_rollouts.core.errors import ServerRefused
from inference_rollouts.core.limits import MODEL_SERVER_TIMEOUT
from inference_rollouts.core.serving.adapters import Served
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.serving.warm_up import Answer

Prompt = str | Sequence[Mapping[str, str]]


class ModelServers(Protocol):
    """The model servers of pods, by their base URLs."""

    def models(self, base_url: str) -> list[Served]:
        """All names that a server answers for now. Raises ServerRefused or requests' errors."""

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        """Load an adapter by the runtime API; one that is loaded from this path already is fine.

        Raises ServerRefused (404: no such path; 400: it does not fit the server, or the name is taken).
        """

    def unload_adapter(self, base_url: str, name: str) -> None:
        """Unload an adapter by the runtime API; one that is not loaded is fine. Raises ServerRefused."""

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        """One streamed answer to a text, or to the messages of a chat, put together again as a completion.

        A connection that fails or an answer that is no event stream is an Answer too (status 0 or as
        given, no body): the caller judges answers.
        """


class HttpModelServers:
    """Model servers over HTTP."""

    def models(self, base_url: str) -> list[Served]:
        answer = requests.get(base_url + vllm.MODELS, timeout=MODEL_SERVER_TIMEOUT)
        return [Served.from_card(card) for card in _accepted(answer).json()["data"]]

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        body = {"lora_name": name, "lora_path": path}
        answer = requests.post(base_url + vllm.LOAD_ADAPTER, json=body, timeout=MODEL_SERVER_TIMEOUT)
        loaded = answer.status_code == 400 and any(
            (served.name, served.path) == (name, path) for served in self.models(base_url)
        )
        if not loaded:
            _accepted(answer)

    def unload_adapter(self, base_url: str, name: str) -> None:
        body = {"lora_name": name}
        answer = requests.post(base_url + vllm.UNLOAD_ADAPTER, json=body, timeout=MODEL_SERVER_TIMEOUT)
        if answer.status_code == 404 and all(served.name != name for served in self.models(base_url)):
            return
        _accepted(answer)

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        chat = not isinstance(prompt, str)
        body = {
            "model": model,
            "messages" if chat else "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        url = base_url + (vllm.CHAT_COMPLETIONS if chat else vllm.COMPLETIONS)
        started = time.monotonic()
        try:
            with requests.post(url, json=body, stream=True, timeout=timeout) as answer:
                if answer.status_code != 200:
                    return Answer(answer.status_code, None, time.monotonic() - started, _words(answer))
                return _assemble(_events(answer), started)
        except (requests.RequestException, ValueError) as error:
            return Answer(0, None, time.monotonic() - started, type(error).__name__)


def _accepted(answer: requests.Response) -> requests.Response:
    if answer.status_code != 200:
        raise ServerRefused(answer.status_code, _words(answer))
    return answer


def _words(answer: requests.Response) -> str:
    """What a server says of its refusal, on one line."""
    try:
        body = answer.json()
        error = body.get("error", body)  # older servers put the error itself into the body
        text = str(error.get("message") or error.get("detail") or error)
    except (ValueError, AttributeError, TypeError):
        text = answer.text
    return " ".join(text.split())[:300]


def _events(answer: requests.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines(chunk_size=None):
        text = line.decode("utf-8", "replace")
        if text.startswith("data:") and (data := text[5:].strip()) != "[DONE]":
            yield json.loads(data)


def _assemble(events: Iterator[dict[str, Any]], started: float) -> Answer:
    ttft, text, finish, model, usage = 0.0, "", None, None, None
    for event in events:
        ttft = ttft or time.monotonic() - started
        model = event.get("model", model)
        usage = event.get("usage") or usage
        for choice in event.get("choices", ()):
            text += choice.get("text") or (choice.get("delta") or {}).get("content") or ""
            finish = choice.get("finish_reason") or finish
    body = {"model": model, "choices": [{"text": text, "finish_reason": finish}], "usage": usage}
    return Answer(200, body, ttft or time.monotonic() - started)
