"""Made-up tokens: text that depends on nothing but the prompt and the model, like greedy decoding."""

from __future__ import annotations

import math
from random import Random
from zlib import crc32

_SYLLABLES = [a + b + c for a in "bdklmnrstv" for b in "aeiou" for c in "lnrst"]
CHARACTERS = 4
"""Of one token of an answer."""
_WORDS = " ".join(Random(7).sample(_SYLLABLES, len(_SYLLABLES))) + " "
_TOKENS = len(_WORDS) // CHARACTERS
_GARBLED = "\ufffd\u0000\ufffd "


class Text:
    """The answer's text as a function of how many tokens of it are out; a token is CHARACTERS long."""

    def __init__(self, model: str, prompt: str, *, garbled: bool = False) -> None:
        self.seed = crc32(prompt.encode(), crc32(model.encode()))
        self._words = _GARBLED * _TOKENS if garbled else _WORDS
        self._start = self.seed % _TOKENS

    def slice(self, first: int, last: int) -> str:
        """The text of tokens `first` (from 0) up to and without `last`."""
        start = CHARACTERS * ((self._start + first) % _TOKENS)
        length = CHARACTERS * (last - first)
        repeats = math.ceil((start + length) / len(self._words))
        return (self._words * repeats)[start : start + length]


def natural_length(seed: int, median: float) -> int:
    """Tokens after which the model itself would end an answer; lognormal over the seeds."""
    return max(1, round(Random(seed).lognormvariate(math.log(median), 0.5)))


def token_ids(text: str, characters_per_token: float) -> list[int]:
    """Stable made-up token ids, one for every `characters_per_token` characters."""
    count = token_count(text, characters_per_token)
    step = characters_per_token
    pieces = (text[round(i * step) : round((i + 1) * step)] for i in range(count))
    return [crc32(piece.encode()) % 128_000 for piece in pieces]


def token_count(text: str, characters_per_token: float) -> int:
    """Tokens of a text; at least one."""
    return max(1, math.ceil(len(text) / characters_per_token))
