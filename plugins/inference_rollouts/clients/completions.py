"""Streamed completions (server-sent events of the OpenAI API), read strictly and put together again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference_rollouts.clients import bodies
from inference_rollouts.core.serving.warm_up import Completion

Tokens = Annotated[int, Field(ge=0, le=10**9)]  # of one answer; more is no count
FIELDS = ("event", "id", "retry", "")  # of a stream, beside `data`; the last one is a comment


class Part(BaseModel):
    """A part of an event: what is named here has its type, and whatever else there is does not matter."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Delta(Part):
    """What comes next of a chat's answer."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class Choice(Part):
    """What comes next of one answer: `text` of a completion, `delta` of a chat."""

    text: str | None = None
    delta: Delta | None = None
    finish_reason: str | None = None

    @property
    def words(self) -> str:
        """The text itself."""
        return self.text or (self.delta and self.delta.content) or ""

    @property
    def thoughts(self) -> str:
        """What a model that reasons thinks before its text; servers spell the field in two ways."""
        delta = self.delta or Delta()
        return delta.reasoning or delta.reasoning_content or ""


class Usage(Part):
    """How many tokens were counted."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None


class Event(Part):
    """One event; the last one has the usage, and no choices."""

    choices: list[Choice] | None
    model: str | None = None
    usage: Usage | None = None


def assemble(lines: Iterable[str], started: float) -> Completion:
    """The completion that the lines of a stream are, which was asked for at `started` (`time.monotonic`).

    Raises ValueError for what is no stream of events of a completion, and for a failure that comes in one.
    """
    ttft, finish, model, usage = 0.0, "", "", Usage()
    text: list[str] = []
    thoughts: list[str] = []
    for event in _events(lines):
        ttft = ttft or time.monotonic() - started
        model = event.model or model
        usage = event.usage or usage
        for choice in event.choices or ():
            text.append(choice.words)
            thoughts.append(choice.thoughts)
            finish = choice.finish_reason or finish
    if not ttft:
        raise ValueError("a stream without events")
    counts = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return Completion(model, "".join(text), finish, *counts, ttft, "".join(thoughts))


def _events(lines: Iterable[str]) -> Iterator[Event]:
    for data in _data(lines):
        value = bodies.parse(data)
        if isinstance(value, dict) and (value.get("error") is not None or "choices" not in value):
            raise ValueError(f"the stream broke off: {bodies.complaint(value)}")
        try:
            yield Event.model_validate(value)
        except ValidationError as error:
            raise ValueError(f"no event of a completion: {_first(error)}") from None


def _data(lines: Iterable[str]) -> Iterator[str]:
    """What the events of a stream say, up to the last one."""
    for line in lines:
        field, _, value = line.partition(":")
        if field == "data":
            if (data := value.strip()) == "[DONE]":
                return
            yield data
        elif line.strip() and field not in FIELDS:
            raise ValueError(f"no stream of events: {bodies.one_line(line, 60)}")


def _first(error: ValidationError) -> str:
    """The first mistake of several, as a phrase."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}".lstrip(": ")
