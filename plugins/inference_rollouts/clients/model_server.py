"""Model servers, spoken to directly as their clients speak to them (OpenAI API, streamed)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import requests

from inference_rollouts.clients import bodies, completions
from inference_rollouts.clients.connections import TimeLeft, session
from inference_rollouts.clients.exchanges import Reply, exchange, opened
from inference_rollouts.core.errors import ServerRefused, ServerUnavailable
from inference_rollouts.core.limits import MODEL_SERVER_BYTES, MODEL_SERVER_TIMEOUT, STREAM_BYTES
from inference_rollouts.core.serving.adapters import Served, served_from
from inference_rollouts.core.serving.engines import vllm
from inference_rollouts.core.serving.warm_up import Answer, Failure

Prompt = str | Sequence[Mapping[str, str]]


class ModelServers(Protocol):
    """The model servers of pods, by their base URLs.

    Every verb but `complete` raises ServerUnavailable when there is no answer, or none that can be read.
    """

    def models(self, base_url: str) -> list[Served]:
        """All names that a server answers for now. Raises ServerRefused."""

    def version(self, base_url: str) -> str:
        """What the server says of its version; empty where it says nothing."""

    def wants_key(self, base_url: str) -> bool:
        """Whether a server refuses who sends no key, as to completions: some list models to everybody."""

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        """Load an adapter by the runtime API; one that is loaded from this path already is fine.

        Raises ServerRefused (404: no such path; 400: it does not fit the server, or the name is taken).
        """

    def unload_adapter(self, base_url: str, name: str) -> None:
        """Unload an adapter by the runtime API; one that is not loaded is fine. Raises ServerRefused."""

    def complete(self, base_url: str, model: str, prompt: Prompt, max_tokens: int, timeout: float) -> Answer:
        """One streamed answer to a text, or to the messages of a chat, put together again as a completion.

        `timeout`: seconds to its end. A connection that fails, an answer that does not end in time or is no
        stream of a completion, and a failure in mid-stream are Answers too: the caller judges answers.
        """


class HttpModelServers:
    """Model servers over HTTP, or HTTPS with certificates that nobody verifies, as kubelets' probes do.

    They are asked at the addresses of pods, for which no certificate is. `timeout`: seconds for a request
    that is no completion, in total. `key` gives what they want as bearer token, empty where they want none.
    """

    def __init__(self, timeout: float = MODEL_SERVER_TIMEOUT, key: Callable[[], str] = lambda: "") -> None:
        self._timeout = timeout
        self._key = key

    def models(self, base_url: str) -> list[Served]:
        url = base_url + vllm.MODELS
        reply = self._exchange("GET", url)
        if reply.status >= 500 or reply.status == 429:
            raise ServerUnavailable(f"{url} answers {reply.status}: {_words(reply)}")
        try:
            return served_from(_accepted(reply).json)
        except ValueError as error:
            raise ServerRefused(reply.status, str(error)) from error

    def version(self, base_url: str) -> str:
        reply = self._exchange("GET", base_url + vllm.VERSION)
        said = reply.object.get("version") if reply.status == 200 else None
        return bodies.one_line(said) if isinstance(said, str) else ""

    def wants_key(self, base_url: str) -> bool:
        # Keys are asked for before methods are looked at, and what is no POST no server counts as a request.
        return self._exchange("GET", base_url + vllm.COMPLETIONS, headers={}).status in (401, 403)

    def load_adapter(self, base_url: str, name: str, path: str) -> None:
        body = {"lora_name": name, "lora_path": path}
        reply = self._exchange("POST", base_url + vllm.LOAD_ADAPTER, json=body)
        loaded = reply.status == 400 and any(
            (served.name, served.path) == (name, path) for served in self.models(base_url)
        )
        if not loaded:
            _accepted(reply)

    def unload_adapter(self, base_url: str, name: str) -> None:
        reply = self._exchange("POST", base_url + vllm.UNLOAD_ADAPTER, json={"lora_name": name})
        if reply.status == 404 and all(served.name != name for served in self.models(base_url)):
            return
        _accepted(reply)

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
            with (
                session() as connections,
                opened(connections, "POST", url, TimeLeft(timeout), json=body, **self._access) as answer,
            ):
                if answer.status_code != 200:
                    reply = Reply(
                        answer.status_code, answer.reason, bodies.read(answer.raw, MODEL_SERVER_BYTES)
                    )
                    return Failure(reply.status, _words(reply))
                return completions.assemble(bodies.lines(answer.raw, STREAM_BYTES), started)
        except bodies.NETWORK_ERRORS as error:
            return Failure(0, bodies.words_of(error, timeout))

    @property
    def _access(self) -> dict[str, Any]:
        """How every request is made."""
        key = self._key()
        return {"verify": False, "headers": {"Authorization": f"Bearer {key}"} if key else {}}

    def _exchange(self, method: str, url: str, **request: Any) -> Reply:
        try:
            with session() as connections:
                left = TimeLeft(self._timeout)
                asked = self._access | request
                return exchange(connections, method, url, left, MODEL_SERVER_BYTES, **asked)
        except requests.RequestException as error:
            raise ServerUnavailable(f"{url} does not answer: {error}") from error


def _accepted(reply: Reply) -> Reply:
    if reply.status != 200:
        raise ServerRefused(reply.status, _words(reply))
    return reply


def _words(reply: Reply) -> str:
    """What a server says of its refusal, on one line: in its own words, else in HTTP's."""
    value = reply.json
    if value is not None:
        return bodies.complaint(value)
    return bodies.one_line(reply.body[: 2 * bodies.LONGEST_WORDS].decode("utf-8", "replace") or reply.reason)
