"""One model server pod, spoken to directly as its clients speak to it (OpenAI API, streamed)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import requests

from inference_rollouts.core.warmup import Answer


def complete(base_url: str, model: str, prompt: str, max_tokens: int, timeout: float) -> Answer:
    """One streamed completion, put together again as if it had not been streamed.

    A connection that fails or an answer that is no event stream is an Answer too (status 0 or as
    given, no body): the caller judges answers.
    """
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    started = time.monotonic()
    try:
        with requests.post(f"{base_url}/v1/completions", json=body, stream=True, timeout=timeout) as answer:
            if answer.status_code != 200:
                return Answer(answer.status_code, None, time.monotonic() - started)
            return _assemble(_events(answer), started)
    except (requests.RequestException, ValueError):
        return Answer(0, None, time.monotonic() - started)


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
            text += choice.get("text") or ""
            finish = choice.get("finish_reason") or finish
    body = {"model": model, "choices": [{"text": text, "finish_reason": finish}], "usage": usage}
    return Answer(200, body, ttft or time.monotonic() - started)
