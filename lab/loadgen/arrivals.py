"""When requests come and how long they are: synthetic or from a recorded trace."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

PROMPT_MEDIAN, PROMPT_SIGMA, PROMPT_LIMITS = 320.0, 0.5, (16, 2048)
ANSWER_MEDIAN, ANSWER_SIGMA, ANSWER_LIMITS = 28.0, 0.35, (8, 64)


class Lengths(NamedTuple):
    """Tokens of a request; `exact` asks the model for precisely so many answer tokens."""

    prompt: int
    answer: int
    exact: bool = False


class Poisson:
    """Independent arrivals at `rate` requests a second, lengths lognormal. A rate of 0 is a pause."""

    def __init__(self, rate: float, rng: Random) -> None:
        self.rate = rate
        self._rng = rng

    def gap(self) -> float:
        """Seconds to the next arrival."""
        return self._rng.expovariate(self.rate) if self.rate else math.inf

    def lengths(self) -> Lengths:
        """How long the next request is."""
        return Lengths(
            self._draw(PROMPT_MEDIAN, PROMPT_SIGMA, PROMPT_LIMITS),
            self._draw(ANSWER_MEDIAN, ANSWER_SIGMA, ANSWER_LIMITS),
        )

    def _draw(self, median: float, sigma: float, limits: tuple[int, int]) -> int:
        drawn = round(self._rng.lognormvariate(math.log(median), sigma))
        return min(max(drawn, limits[0]), limits[1])


@dataclass(frozen=True, slots=True)
class Traced:
    """One request of a trace; `offset` is seconds since the trace's first."""

    offset: float
    lengths: Lengths


def read_trace(path: Path) -> Iterator[Traced]:
    """The requests of a CSV file with a header: arrival time (ISO 8601 or seconds), prompt tokens,
    answer tokens. ValueError names the line that cannot be read.
    """
    start: float | None = None
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows, None)
        for number, row in enumerate(rows, start=2):
            try:
                moment, prompt, answer = _seconds(row[0]), int(row[1]), int(row[2])
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
            start = moment if start is None else start
            yield Traced(moment - start, Lengths(max(prompt, 1), max(answer, 1), exact=True))


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        whole, _, fraction = text.strip().partition(".")
        return datetime.fromisoformat(whole).timestamp() + float(f"0.{fraction or 0}")
