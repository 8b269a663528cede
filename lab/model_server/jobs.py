"""From a parsed request to what the server will do with it, decided before any token is out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from lab.model_server import words
from lab.model_server.answers import Answer, Said
from lab.model_server.engine import Sequence
from lab.model_server.errors import ProtocolError, invalid
from lab.model_server.faults import Fault, Faults
from lab.model_server.images import Image
from lab.model_server.requests import Asking, ChatRequest, CompletionRequest, chat_text
from lab.model_server.timing import PrefixCache

MIDWAY = (Fault.CUT, Fault.ENGINE_ERROR, Fault.STALL)
"""Faults that break an answer off when half of it is out."""
UNEXPECTED_MODEL = "unexpected-model"
GREEDY = 1e-5  # temperatures below it are none


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as text, with its length in tokens."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to one prompt. Of its text only the first `visible` characters are said."""

    text: words.Text
    sequence: Sequence
    visible: int
    stop_reason: str | None = None

    def slice(self, first: int, last: int) -> str:
        """What these tokens say."""
        start = words.CHARACTERS * first
        return self.text.slice(first, last)[: max(0, self.visible - start)]

    def said(self, first: int = 0) -> Said:
        """The answer from this token on."""
        text = self.slice(first, self.sequence.answer_tokens)
        return Said(text, self.sequence.finish_reason, self.stop_reason)


@dataclass(frozen=True, slots=True)
class Job:
    """One request with its fate."""

    answer: Answer
    choices: tuple[Choice, ...]
    fault: Fault | None

    @property
    def tokens(self) -> int:
        """Of all choices together."""
        return sum(choice.sequence.answer_tokens for choice in self.choices)


def prompts_of(asked: Asking, image: Image) -> list[Prompt]:
    """The prompts of a request, after the chat template. Raises ProtocolError when there is none."""
    if isinstance(asked, ChatRequest):
        return [_text(chat_prompt(asked.messages, image), image)]
    assert isinstance(asked, CompletionRequest)
    if not asked.prompts:
        raise ProtocolError("You must pass at least one prompt")
    return [
        _text(each, image) if isinstance(each, str) else Prompt(str(each), len(each))
        for each in asked.prompts
    ]


def chat_prompt(messages: list[dict[str, Any]], image: Image) -> str:
    """What an image's chat template makes of messages. Raises ProtocolError for an empty chat."""
    return image.chat_prefix + chat_text(messages)


def _text(text: str, image: Image) -> Prompt:
    return Prompt(text, words.token_count(text, image.characters_per_token))


def check(asked: Asking, prompts: list[Prompt], image: Image) -> None:
    """Raises ProtocolError, in vLLM's order, for what cannot be generated."""
    (name, limit), context = asked.limit, image.max_model_len
    if limit is not None and limit > context:
        message = f"{name}={limit} cannot be greater than max_model_len={context}."
        raise invalid(f"{message} Please request fewer output tokens.", name, limit)
    longest = max(prompt.tokens for prompt in prompts)
    if longest > context:
        raise invalid(
            f"This model's maximum context length is {context} tokens. However, your prompt contains at "
            f"least {context + 1} input tokens, which exceeds this limit even without any output tokens. "
            "Please reduce the length of the input prompt.",
            "input_tokens",
            context + 1,
        )
    room = context - longest
    _check_sampling(asked, room if limit is None else min(limit, room))


def _check_sampling(asked: Asking, limit: int) -> None:
    n, temperature = asked.n, asked.temperature
    if n is not None and n < 1:
        raise ProtocolError(f"n must be at least 1, got {n}.")
    if temperature is not None and temperature < 0:
        raise invalid(f"temperature must be non-negative, got {temperature}.", "temperature", temperature)
    if temperature is not None and temperature > 2:
        raise invalid(f"temperature must be in [0, 2], got {temperature}.", "temperature", temperature)
    if limit < 1:
        raise invalid(f"max_tokens must be at least 1, got {limit}.", "max_tokens", limit)
    if n is not None and n > 1 and temperature is not None and temperature < GREEDY:
        raise ProtocolError(f"n must be 1 when using greedy sampling, got {n}.")


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes jobs for one model; the faults are the server's and, with an adapter, the adapter's."""

    image: Image
    cache: PrefixCache
    model: str
    faults: tuple[Faults, ...]

    def job(self, asked: Asking, prompts: list[Prompt], identity: tuple[str, int], rng: Random) -> Job:
        """Draws the request's chances in a fixed order, so that changing one rate changes nothing else.

        `identity` is the answer's id and creation time.
        """
        chance, slow = rng.random(), rng.random()
        fault = next((drawn for each in self.faults if (drawn := each.draw(chance))), None)
        choices = tuple(
            self._choice(asked, prompt, number, fault, slow, rng)
            for prompt in prompts
            for number in range(asked.n or 1)
        )
        named = UNEXPECTED_MODEL if fault is Fault.WRONG_MODEL else self.model
        tokens = sum(prompt.tokens for prompt in prompts)
        chat, fingerprint = isinstance(asked, ChatRequest), self.image.fingerprint
        return Job(Answer(chat, *identity, named, tokens, fingerprint), choices, fault)

    def _choice(
        self, asked: Asking, prompt: Prompt, number: int, fault: Fault | None, slow: float, rng: Random
    ) -> Choice:
        garbled = fault is Fault.GARBLED
        text = words.Text(self.model, prompt.text + "\0" * number, garbled=garbled)
        room = self.image.max_model_len - prompt.tokens
        limit = min(room, asked.limit[1] or room)
        natural = words.natural_length(text.seed, self.image.answer_tokens)
        ends = natural < limit and not asked.ignore_eos
        tokens, visible, stop = natural if ends else limit, words.CHARACTERS * limit, None
        if found := _first(asked.stops, text.slice(0, tokens)):
            visible, stop = found
            tokens, ends = math.ceil((visible + len(stop)) / words.CHARACTERS), True
        if fault is Fault.EMPTY:
            visible = 0
        sequence = self._sequence(prompt, tokens, "stop" if ends else "length", slow, rng)
        sequence.lost = fault in MIDWAY
        return Choice(text, sequence, visible, stop)

    def _sequence(self, prompt: Prompt, tokens: int, reason: str, slow: float, rng: Random) -> Sequence:
        cached = int(self.cache.lookup(prompt.text) / self.image.characters_per_token)
        sequence = Sequence(prompt.tokens, min(prompt.tokens, cached), tokens, reason, rng)
        for each in self.faults:
            factor = each.slow_factor if slow < each.slow_share else 1.0
            sequence.prefill_factor *= each.first_token_factor * factor
            sequence.decode_factor *= each.token_factor * factor
        return sequence


def _first(stops: Iterable[str], text: str) -> tuple[int, str] | None:
    """Where the first of these strings begins in a text, and which it is."""
    return min(((text.find(stop), stop) for stop in stops if stop in text), default=None)
