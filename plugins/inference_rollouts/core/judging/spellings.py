"""What of a metric a target exports, in the preferred one of the spellings that there are."""

from __future__ import annotations

import math
from collections.abc import Collection
from functools import cache

from inference_rollouts.core.judging.ledger import Key
from inference_rollouts.core.judging.metrics import Latency, Rate


def events_in(metric: Rate | Latency, keys: Collection[Key]) -> Key | None:
    """What counts all events of the metric, in the preferred spelling of those that there are."""
    part, bound = ("total", None) if isinstance(metric, Rate) else ("le", math.inf)
    spellings = metric.total if isinstance(metric, Rate) else metric.histogram
    return next((key for key in _spelt(metric.name, part, len(spellings), bound) if key in keys), None)


def bad_in(metric: Rate, keys: Collection[Key]) -> Key | None:
    """The same of what counts the events that are marked: bad ones, or good ends."""
    return next((key for key in _spelt(metric.name, "bad", len(metric.bad), None) if key in keys), None)


@cache
def _spelt(metric: str, part: str, spellings: int, bound: float | None) -> tuple[Key, ...]:
    """A part of a metric in all its spellings, the preferred one first."""
    return tuple((f"{metric}/{part}/{place}", bound) for place in range(spellings))
