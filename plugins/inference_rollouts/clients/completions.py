"""Streamed completions (server-sent events of the OpenAI API), read strictly and put together again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference_rollouts.clients import bodies
from inference_rollouts.core.serving.warm_up import Completion

Tokens = Annotated[int, Field(ge=0, le=10**9)]  # of one answer; more is no count
BY_ITSELF = dict.fromkeys(("tool_calls", "function_call", "eos_token", "stop_sequence"), "stop")
"""What servers call it that a model ended by itself, or at words that end an answer."""
FIELDS = ("event", "id", "retry", "")  # of a stream, beside `data`; the last one is a comment


class Part(BaseModel):
    """A part of an event: what is named here has its type, and whatever else there is does not matter."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Called(Part):
    """What a function is called with, as far as it has come."""

    name: str | None = None
    arguments: str | None = None

    @property
    def words(self) -> str:
        return f"{self.name or ''}{self.arguments or ''}"


class ToolCall(Part):
    """What comes next of a call."""

    function: Called | None = None


class Piece(Part):
    """A part of a text that is a list of such: text, or thoughts, which are a list again."""

    text: str | None = None
    refusal: str | None = None
    thinking: str | list[Piece] | None = None


class Delta(Part):
    """What comes next of a chat's answer, in the fields that servers have for it."""

    content: str | list[Piece] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    function_call: Called | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def words(self) -> str:
        """The text itself."""
        if not isinstance(self.content, list):
            return self.content or ""
        return "".join(each.text or each.refusal or "" for each in self.content)

    @property
    def others(self) -> str:
        """What is said besides: thoughts, a refusal, or calls of functions."""
        pieces = self.content if isinstance(self.content, list) else []
        calls = [self.function_call, *(each.function for each in self.tool_calls or ())]
        return "".join(
            [
                self.reasoning or self.reasoning_content or "",
                *(_thought(each.thinking) for each in pieces),
                self.refusal or "",
                *(each.words for each in calls if each),
            ]
        )


def _thought(thinking: str | list[Piece] | None) -> str:
    if isinstance(thinking, list):
        return "".join(each.text or "" for each in thinking)
    return thinking or ""


class Choice(Part):
    """What comes next of one answer: `text` of a completion, `delta` of a chat."""

    text: str | None = None
    delta: Delta | None = None
    finish_reason: str | None = None

    @property
    def words(self) -> str:
        """The text itself."""
        return self.text or (self.delta.words if self.delta else "")

    @property
    def others(self) -> str:
        """What is said besides the text."""
        return self.delta.others if self.delta else ""


class Usage(Part):
    """How many tokens were counted."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None


class Event(Part):
    """One event; the last one has the usage, and no choices."""

    choices: list[Choice] | None = None
    model: str | None = None
    usage: Usage | None = None


def assemble(lines: Iterable[str], started: float) -> Completion:
    """The completion that the lines of a stream are, which was asked for at `started` (`time.monotonic`).

    Raises ValueError for what is no stream of events of a completion, and for a failure that comes in one.
    """
    begun, ttft, finish, model, usage = 0.0, 0.0, "", "", Usage()
    text: list[str] = []
    others: list[str] = []
    for event in _events(lines):
        begun = begun or time.monotonic() - started
        model = event.model or model
        usage = event.usage or usage
        for choice in event.choices or ():
            text.append(choice.words)
            others.append(choice.others)
            finish = choice.finish_reason or finish
            if choice.words or choice.others:
                ttft = ttft or time.monotonic() - started
    if not begun:
        raise ValueError("a stream without events")
    counts = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return Completion(
        model, _joined(text), BY_ITSELF.get(finish, finish), *counts, ttft or begun, _joined(others)
    )


def _joined(words: Iterable[str]) -> str:
    """Words as one text, also where a character was cut in two: halves of it are JSON, but no text."""
    return "".join(words).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _events(lines: Iterable[str]) -> Iterator[Event]:
    for data in _data(lines):
        value = bodies.parse(data)
        if isinstance(value, dict) and (
            value.get("error") is not None or not {"choices", "usage"} & value.keys()
        ):
            raise ValueError(f"the stream broke off: {bodies.complaint(value)}")
        try:
            yield Event.model_validate(value)
        except ValidationError as error:
            raise ValueError(f"no event of a completion: {_first(error)}") from None


def _data(lines: Iterable[str]) -> Iterator[str]:
    """What the events of a stream say, up to the last one. Several lines of one are one text."""
    said: list[str] = []
    for number, line in enumerate(lines):
        field, _, value = (line if number else line.removeprefix("\ufeff")).partition(":")
        if field == "data":
            said.append(value.strip())
            if said == ["[DONE]"]:
                return
            if len(said) == 1 and _is_whole(said[0]):
                yield said.pop()
        elif not line.strip():
            if any(said):
                yield "\n".join(said)
            said = []
        elif field not in FIELDS:
            raise ValueError(f"no stream of events: {bodies.one_line(line, 60)}")
    if any(said):
        yield "\n".join(said)


def _is_whole(text: str) -> bool:
    """Whether a line seems to be all of an event, as it nearly always is: it need not wait for the next."""
    return text[:1] == "{" and text[-1:] == "}"


def _first(error: ValidationError) -> str:
    """The first mistake of several, as a phrase."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}".lstrip(": ")
