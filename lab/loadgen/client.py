"""Sends one request as a client of the service would, and says what became of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from lab.loadgen import record as outcomes
from lab.loadgen.arrivals import Lengths
from lab.loadgen.record import Record

PATIENCE = 60.0
PATH = "/v1/chat/completions"
_HEADERS = {"content-type": "application/json"}


class BadAnswer(Exception):
    """An answer that arrived whole and is wrong."""


class StreamError(Exception):
    """A stream in which the server tells that it failed; the status was out by then."""


class Client:
    """Clients of one service, who leave without their whole answer after `patience` seconds.

    `headers` are sent with each request. Use as an asynchronous context manager.
    """

    def __init__(
        self, url: str, model: str, patience: float = PATIENCE, headers: Mapping[str, str] | None = None
    ) -> None:
        self.patience = patience
        self._url = url.rstrip("/") + PATH
        self._model = model
        self._headers = {**_HEADERS, **(headers or {})}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def send(self, prompt: str, lengths: Lengths, *, stream: bool, alias: str = "") -> Record:
        """Never raises for a failed request: the record says why.

        An `alias`, asked for instead of the client's model, is answered by whatever adapter stands behind it.
        """
        record = Record(time=time.time(), model=alias or self._model)
        began = time.perf_counter()
        try:
            await self._exchange(record, began, _body(record.model, prompt, lengths, stream), stream)
        except BadAnswer as error:
            _fail(record, outcomes.BAD_ANSWER, error)
        except StreamError as error:
            _fail(record, outcomes.STREAM_ERROR, error)
        except TimeoutError as error:
            _fail(record, outcomes.TIMEOUT, error)
        except aiohttp.ClientConnectorError as error:
            _fail(record, outcomes.CONNECT_ERROR, error)
        except (aiohttp.ClientError, OSError) as error:
            _fail(record, outcomes.CUT if record.status else outcomes.RESET, error)
        record.e2e = time.perf_counter() - began
        return record

    async def _exchange(self, record: Record, began: float, body: bytes, stream: bool) -> None:
        if self._session is None:
            raise RuntimeError("use Client as an asynchronous context manager")
        limit = aiohttp.ClientTimeout(total=self.patience)
        async with self._session.post(self._url, data=body, timeout=limit) as response:
            record.pod = response.headers.get("x-served-by", "")
            record.pool = response.headers.get("x-inference-pool", "")
            record.status = response.status
            if response.status != 200:
                record.outcome = f"http_{response.status}"
                record.detail = (await response.text())[:200]
            elif stream:
                await self._read_stream(record, began, response)
            else:
                self._check(record, _parsed(await response.read()))

    async def _read_stream(self, record: Record, began: float, response: aiohttp.ClientResponse) -> None:
        received, first = bytearray(), 0.0
        async for chunk in response.content.iter_any():
            received += chunk
            if not first:
                first = time.perf_counter()
                record.ttft = first - began
        last = time.perf_counter()
        *events, end = [event for event in bytes(received).split(b"\n\n") if event] or [b""]
        if end != b"data: [DONE]":
            raise aiohttp.ClientPayloadError("the stream ended without [DONE]")
        self._check_events(record, [_parsed(event.removeprefix(b"data: ")) for event in events])
        if record.answer_tokens > 1:
            record.inter_token = (last - first) / (record.answer_tokens - 1)

    def _check_events(self, record: Record, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, dict) and event.get("error"):
                raise StreamError(event["error"])
        try:
            text = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
            reason = events[-2]["choices"][0]["finish_reason"]
            self._judge(record, events[0]["model"], text, reason, events[-1]["usage"])
        except (KeyError, IndexError, TypeError) as error:
            raise BadAnswer(f"events without {error}") from error

    def _check(self, record: Record, body: Any) -> None:
        try:
            choice = body["choices"][0]
            text, reason = choice["message"]["content"], choice["finish_reason"]
            self._judge(record, body["model"], text, reason, body["usage"])
        except (KeyError, IndexError, TypeError) as error:
            raise BadAnswer(f"a body without {error}") from error

    def _judge(self, record: Record, model: str, text: str, reason: str, usage: Any) -> None:
        record.prompt_tokens, record.answer_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        if (model == self._model) != (record.model == self._model):
            raise BadAnswer(f"answered as model {model!r}")
        if not text.strip():
            raise BadAnswer("empty text")
        if "\ufffd" in text:
            raise BadAnswer("garbled text")
        if reason not in ("stop", "length"):
            raise BadAnswer(f"finish_reason {reason!r}")


def _body(model: str, prompt: str, lengths: Lengths, stream: bool) -> bytes:
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": lengths.answer,
        "temperature": 0,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if lengths.exact:
        body["ignore_eos"] = True
    return json.dumps(body).encode()


def _parsed(event: bytes) -> Any:
    try:
        return json.loads(event)
    except ValueError as error:
        raise BadAnswer(f"not JSON: {event[:80]!r}") from error


def _fail(record: Record, outcome: str, error: Exception) -> None:
    record.outcome = outcome
    record.detail = f"{type(error).__name__}: {error}".removesuffix(": ")[:200]
