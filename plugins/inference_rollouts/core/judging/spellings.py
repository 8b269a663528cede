"""What of a metric a target exports, in the preferred one of the spellings that there are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from functools import cache

from inference_rollouts.core.judging.metrics import Latency, Rate
from inference_rollouts.core.judging.raw_series import Key


def is_otherwise(metric: Rate | Latency, targets: Iterable[Collection[Key]]) -> bool:
    """Whether a metric is measured otherwise, since one of the targets exports it so alone, by these keys.

    Two measures of the same, by request and by token, are not to be compared with each other.
    """
    if not isinstance(metric, Latency) or not metric.otherwise:
        return False
    return any(events_in(metric, keys) is None and events_in(metric, keys, True) for keys in targets)


def events_in(metric: Rate | Latency, keys: Collection[Key], otherwise: bool = False) -> Key | None:
    """What counts all events of the metric, in the preferred spelling of those that there are."""
    if isinstance(metric, Rate):
        spelt = _spelt(metric.name, "total", 0, len(metric.total), None)
    else:
        first = len(metric.histogram)
        span = (first, first + len(metric.otherwise)) if otherwise else (0, first)
        spelt = _spelt(metric.name, "le", *span, math.inf)
    return next((key for key in spelt if key in keys), None)


def bad_in(metric: Rate, keys: Collection[Key]) -> Key | None:
    """The same of what counts the events that are marked: bad ones, or good ends."""
    return next((key for key in _spelt(metric.name, "bad", 0, len(metric.bad), None) if key in keys), None)


@cache
def _spelt(metric: str, part: str, first: int, end: int, bound: float | None) -> tuple[Key, ...]:
    """A part of a metric in some of its spellings, the preferred one first."""
    return tuple((f"{metric}/{part}/{place}", bound) for place in range(first, end))
