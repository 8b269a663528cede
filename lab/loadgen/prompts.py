"""Prompts of a given length that begin alike, as prompts of one application do."""

from __future__ import annotations

from random import Random

CHARACTERS_PER_TOKEN = 4
PREFIXES = 12
PREFIX_SHARE = 0.6
_ALPHABET = "abcdefghijklmnopqrstuvwxyz     "


class Prompts:
    """Draws prompts: a share of each is one of a few common beginnings, popular ones more often."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._text = "".join(rng.choices(_ALPHABET, k=1 << 16))
        self._prefixes = ["".join(rng.choices(_ALPHABET, k=1 << 13)) for _ in range(PREFIXES)]
        self._popularity = [1 / rank for rank in range(1, PREFIXES + 1)]

    def draw(self, tokens: int) -> str:
        """A prompt of about `tokens` tokens."""
        characters = tokens * CHARACTERS_PER_TOKEN
        prefix = self._rng.choices(self._prefixes, self._popularity)[0][: int(characters * PREFIX_SHARE)]
        return prefix + self._fill(characters - len(prefix))

    def _fill(self, characters: int) -> str:
        start = self._rng.randrange(len(self._text))
        repeats = 2 + characters // len(self._text)
        return (self._text * repeats)[start : start + characters]
