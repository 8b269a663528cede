"""How long the simulated server takes, and how its prefix cache warms."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from random import Random

BLOCK_CHARACTERS = 256
CACHE_BLOCKS = 8192


@dataclass(frozen=True, slots=True)
class Accelerator:
    """How long a server takes on it, in relation to nvidia-h100-80gb."""

    first_token: float = 1.0
    token: float = 1.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds, except `batch_slowdown` (relative, for each running sequence), `noise` (sigma of a
    lognormal factor with median 1) and `warmup_decay` (relative, for each request served).
    """

    prefill_base: float = 0.12
    prefill_per_token: float = 0.0001
    inter_token: float = 0.015
    batch_slowdown: float = 0.004
    noise: float = 0.25
    warmup_extra: float = 1.5
    warmup_decay: float = 0.5

    def on(self, machine: Accelerator) -> Timing:
        """The same server on other hardware."""
        return replace(
            self,
            prefill_base=self.prefill_base * machine.first_token,
            prefill_per_token=self.prefill_per_token * machine.first_token,
            inter_token=self.inter_token * machine.token,
        )

    def prefill(self, tokens: int, running: int, served: int, rng: Random) -> float:
        """Time to compute `tokens` uncached prompt tokens; the first requests after a start also
        pay for compilation and graph capture.
        """
        work = (self.prefill_base + self.prefill_per_token * tokens) * self._batch(running)
        return work * self._noise(rng, self.noise) + self.warmup_extra * self.warmup_decay**served

    def decode(self, tokens: int, running: int, rng: Random) -> float:
        """Time to generate `tokens` tokens one after the other."""
        return tokens * self.inter_token * self._batch(running) * self._noise(rng, self.noise / 2)

    def _batch(self, running: int) -> float:
        return 1 + self.batch_slowdown * running

    @staticmethod
    def _noise(rng: Random, sigma: float) -> float:
        return math.exp(rng.gauss(0.0, sigma))


class PrefixCache:
    """Remembers the prompts' beginnings, block by block; the least recently used go first."""

    def __init__(self, blocks: int = CACHE_BLOCKS) -> None:
        self._capacity = blocks
        self._seen: OrderedDict[int, None] = OrderedDict()

    def lookup(self, prompt: str) -> int:
        """Characters at the prompt's start that were computed before; the whole prompt is
        remembered for the next one.
        """
        hit, missed, chain = 0, False, 0
        for start in range(0, len(prompt) - BLOCK_CHARACTERS + 1, BLOCK_CHARACTERS):
            chain = hash((chain, prompt[start : start + BLOCK_CHARACTERS]))
            if chain in self._seen and not missed:
                hit += BLOCK_CHARACTERS
            else:
                missed = True
            self._seen[chain] = None
            self._seen.move_to_end(chain)
        while len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return hit
