"""Streamed completions (server-sent events of the OpenAI API), put together again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from inference_rollouts.clients import bodies
from inference_rollouts.core.serving.warm_up import Answer


def assemble(lines: Iterable[str], started: float) -> Answer:
    """The completion that the lines of a stream are, which was asked for at `started` (`time.monotonic`).

    Raises ValueError for what is no event of a completion, an error in the middle of the stream included.
    """
    ttft, text, finish, model, usage = 0.0, [], None, None, None
    for event in _events(lines):
        ttft = ttft or time.monotonic() - started
        model = event.get("model", model)
        usage = event.get("usage") or usage
        for choice in _choices(event):
            text.append(_text(choice))
            finish = choice.get("finish_reason") or finish
    body = {"model": model, "choices": [{"text": "".join(text), "finish_reason": finish}], "usage": usage}
    return Answer(200, body, ttft or time.monotonic() - started)


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if not line.startswith("data:") or (data := line[5:].strip()) == "[DONE]":
            continue
        event = bodies.parse(data)
        if not isinstance(event, dict):
            raise ValueError(f"an event that is no object: {bodies.one_line(data, 60)}")
        if error := event.get("error"):
            words = error.get("message", error) if isinstance(error, dict) else error
            raise ValueError(f"the stream broke off: {bodies.one_line(words)}")
        yield event


def _choices(event: dict[str, Any]) -> list[dict[str, Any]]:
    choices = event.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise ValueError(f"choices that are no list of objects: {bodies.one_line(choices, 60)}")
    return choices


def _text(choice: dict[str, Any]) -> str:
    """The text of one event, of a completion or of a chat."""
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict):
        raise ValueError(f"a delta that is no object: {bodies.one_line(delta, 60)}")
    text = choice.get("text") or delta.get("content") or ""
    if not isinstance(text, str):
        raise ValueError(f"a text that is none: {bodies.one_line(text, 60)}")
    return text
