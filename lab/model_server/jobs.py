"""From a validated request to what the server will do with it, decided before any token is out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from lab.model_server import words
from lab.model_server.engine import Sequence
from lab.model_server.faults import Fault, Faults
from lab.model_server.images import Image
from lab.model_server.protocol import Answer, Completion, ProtocolError
from lab.model_server.timing import PrefixCache

UNEXPECTED_MODEL = "unexpected-model"


@dataclass(frozen=True, slots=True)
class Job:
    """One request with its fate."""

    answer: Answer
    text: words.Text
    sequence: Sequence
    fault: Fault | None

    def slice(self, first: int, last: int) -> str:
        """The text of these tokens; nothing when the fault is an empty answer."""
        return "" if self.fault is Fault.EMPTY else self.text.slice(first, last)


def make_job(
    completion: Completion,
    model: str,
    faults: Iterable[Faults],
    image: Image,
    cache: PrefixCache,
    identity: tuple[str, int],
    rng: Random,
) -> Job:
    """Draws the request's chances in a fixed order, so that changing one rate changes nothing else.

    `identity` is the answer's id and creation time. Raises ProtocolError when the context is too long.
    """
    chance, slow = rng.random(), rng.random()
    fault = next((drawn for each in faults if (drawn := each.draw(chance))), None)
    text = words.Text(model, completion.prompt, garbled=fault is Fault.GARBLED)
    sequence = _sequence(completion, image, cache, text.seed, rng)
    for each in faults:
        factor = each.slow_factor if slow < each.slow_share else 1.0
        sequence.prefill_factor *= each.first_token_factor * factor
        sequence.decode_factor *= each.token_factor * factor
    named = UNEXPECTED_MODEL if fault is Fault.WRONG_MODEL else model
    answer = Answer(completion.chat, identity[0], identity[1], named, sequence.prompt_tokens)
    return Job(answer, text, sequence, fault)


def _sequence(completion: Completion, image: Image, cache: PrefixCache, seed: int, rng: Random) -> Sequence:
    prompt_tokens = words.token_count(completion.prompt, image.characters_per_token)
    room = image.max_model_len - prompt_tokens
    limit = room if completion.max_tokens is None else completion.max_tokens
    if limit > room or room < 1:
        raise ProtocolError(
            f"This model's maximum context length is {image.max_model_len} tokens. However, you requested "
            f"{prompt_tokens + limit} tokens ({prompt_tokens} in the messages, {limit} in the completion)."
        )
    natural = words.natural_length(seed, image.answer_tokens)
    stops = natural < limit and not completion.ignore_eos
    return Sequence(
        prompt_tokens=prompt_tokens,
        cached_tokens=min(prompt_tokens, int(cache.lookup(completion.prompt) / image.characters_per_token)),
        answer_tokens=natural if stops else limit,
        finish_reason="stop" if stops else "length",
        rng=rng,
    )
