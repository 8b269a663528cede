"""Windows and blackouts together: when traffic may be moved, and what the end of a window means."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import lru_cache

from inference_rollouts.core.durations import LONGEST
from inference_rollouts.core.schedule.windows import Blackout, Span, Window
from inference_rollouts.core.schedule.zones import local_day
from inference_rollouts.core.values import Model

ALWAYS = Span(-math.inf, math.inf)
BLOCK = 30 * 86400.0  # seconds of which spans are computed at once, and kept
MARGIN = 2 * 86400.0  # seconds; no window is longer


class AtWindowEnd(StrEnum):
    """What becomes of a rollout that has traffic when its window closes."""

    STAY = "stay"
    """It keeps its share, watched and guarded, and goes on at the next opening."""
    FINISH = "finish"
    """It goes on: only its first raise needs an open window."""
    ROLLBACK = "rollback"
    """It goes back."""


class Calendar(Model):
    """When one run may raise weights. With an `override`, a person's reason, it may at any time."""

    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()
    at_window_end: AtWindowEnd = AtWindowEnd.STAY
    override: str = ""

    @property
    def restricts(self) -> bool:
        """Whether there is a time at which nothing may be raised."""
        return bool(self.windows or self.blackouts) and not self.override

    @property
    def zone(self) -> str:
        """The zone in which people think of it."""
        zones = [*(each.timezone for each in self.windows), *(each.timezone for each in self.blackouts)]
        return zones[0] if zones else "UTC"

    def is_open(self, at: float) -> bool:
        """Whether weights may be raised at a moment (Unix seconds)."""
        span = self.span(at)
        return span is not None and span.opens <= at

    def span(self, at: float) -> Span | None:
        """The open time that a moment is in, else the next one; None where a year brings none.

        One that does not end within a year, or little more, counts as one without end.
        """
        return next(self.spans(at), None)

    def spans(self, at: float) -> Iterator[Span]:
        """The open times that end after a moment and begin within a year of it, in order.

        One that is open at that moment may be said to open later than it did.
        """
        if not self.restricts:
            yield ALWAYS
            return
        first, last = math.floor(at / BLOCK), math.floor((at + LONGEST) / BLOCK) + 1
        pieces = (span for block in range(first, last + 1) for span in _spans(self, block))
        for span in joined(pieces):
            if span.opens > at + LONGEST:
                return
            if span.closes > at:
                yield Span(span.opens, span.closes if span.closes < (last + 1) * BLOCK else math.inf)


@lru_cache(maxsize=256)
def _spans(calendar: Calendar, block: int) -> tuple[Span, ...]:
    """The open times within one block, cut where it begins and ends."""
    within = Span(block * BLOCK, (block + 1) * BLOCK)
    opened = (
        span
        for window in calendar.windows
        for span in window.spans(
            local_day(within.opens - MARGIN, window.timezone), local_day(within.closes, window.timezone)
        )
    )
    outside = [Span(-math.inf, within.opens), Span(within.closes, math.inf)]
    closed = [*(blackout.span for blackout in calendar.blackouts), *outside]
    return tuple(without(joined(sorted(opened)) if calendar.windows else [ALWAYS], closed))


def joined(spans: Iterable[Span]) -> Iterator[Span]:
    """The same moments as spans that neither overlap nor touch, of spans in the order in which they open."""
    last: Span | None = None
    for span in spans:
        if last is None or span.opens > last.closes:
            if last:
                yield last
            last = span
        else:
            last = Span(last.opens, max(last.closes, span.closes))
    if last:
        yield last


def without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """What of `spans` is in none of `holes`."""
    left = list(spans)
    for hole in holes:
        left = [
            part
            for span in left
            for part in (
                Span(span.opens, min(span.closes, hole.opens)),
                Span(max(span.opens, hole.closes), span.closes),
            )
            if part.opens < part.closes
        ]
    return left
