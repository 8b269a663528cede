"""Golden prompts: questions whose answers show whether a canary behaves as the pool that serves today."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from inference_rollouts.core.serving.warm_up import Answer, Completion, mistake
from inference_rollouts.core.values import Model

SHOWN = 60  # characters of an answer or prompt that a sentence quotes


class Message(Model):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: Annotated[str, Field(max_length=32768)]
    """What is said."""


class Golden(Model):
    """A prompt, or a chat, and what an answer to it must be. Answers are greedy (temperature 0)."""

    prompt: Annotated[str, Field(min_length=1, max_length=32768)] | None = None
    """A text to complete; either this or `messages`."""
    messages: Annotated[tuple[Message, ...], Field(min_length=1)] | None = None
    """A chat to answer, through the server's chat template; either this or `prompt`."""
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 32
    """The longest answer, in tokens. Default: 32, enough for a sentence."""
    finish_reasons: Annotated[tuple[Literal["stop", "length"], ...], Field(min_length=1)] = ("stop", "length")
    """The ways in which an answer may end. Default: by itself, or at `max_tokens`."""
    format: Literal["text", "json"] = "text"
    """What an answer must parse as. Default: any text."""
    pattern: str | None = None
    """A regular expression that must be found somewhere in the answer. Default: none, as few questions have
    one right answer."""
    length_drift: Annotated[float, Field(ge=1)] | None = None
    """How many times longer or shorter than stable's an answer may be, in tokens; null: any length. Default:
    null, as a new model may answer at other lengths."""
    prompt_tokens_drift: Annotated[float, Field(ge=0)] = 0.0
    """The share by which the prompt's number of tokens may differ from stable's count. Default: 0, as any
    difference reveals another tokenizer or chat template."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("a golden prompt has either `prompt` or `messages`")
        return self

    @property
    def question(self) -> str | list[dict[str, str]]:
        """What is sent: a text, or the messages of a chat."""
        return self.prompt or [message.model_dump() for message in self.messages or ()]

    def __str__(self) -> str:
        text = self.prompt or (self.messages or ())[-1].content
        return f"golden prompt {_quoted(text)}"


def findings(golden: Golden, answer: Answer, model: str, reference: Completion) -> Iterator[str]:
    """What speaks against a canary's answer as `model`, beside stable's `reference`: one phrase each."""
    match answer, mistake(answer, model):
        case _, str(wrong):
            yield wrong
        case Completion() as completion, None:
            yield from _differences(golden, completion, reference)


def _differences(golden: Golden, answer: Completion, reference: Completion) -> Iterator[str]:
    if answer.finish_reason not in golden.finish_reasons:
        yield f"finished with reason {answer.finish_reason!r} instead of {' or '.join(golden.finish_reasons)}"
    if golden.format == "json" and not _is_json(answer.text):
        yield f"answered {_quoted(answer.text)}, which is not JSON"
    if golden.pattern is not None and not re.search(golden.pattern, answer.text):
        yield f"answered {_quoted(answer.text)}, which does not match {golden.pattern!r}"
    mine, theirs = answer.prompt_tokens, reference.prompt_tokens
    if abs(mine - theirs) > golden.prompt_tokens_drift * theirs:
        yield (
            f"counted {mine} tokens in the prompt where stable counts {theirs}: "
            "the tokenizer or the chat template is another"
        )
    mine, theirs = answer.completion_tokens, reference.completion_tokens
    if golden.length_drift is not None and max(mine, theirs) > golden.length_drift * min(mine, theirs):
        yield f"answered with {mine} tokens where stable answers with {theirs}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN else line[:SHOWN] + "...")
