"""Local time: what clocks in a zone show, as moments (Unix seconds), on days on which they jump too."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _known(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone; use a name such as Europe/Berlin") from error
    return name


TimeZone = Annotated[str, AfterValidator(_known)]
"""A time zone by its name in the tz database, such as Europe/Berlin."""


def moment_of(day: date, minutes: int, zone: str, *, late: bool) -> float:
    """When clocks in a zone show so many minutes after a day's midnight (up to two days' worth).

    Where clocks skip that, it is when they jump. Where they show it twice, it is the `late` time or the early
    one.
    """
    where = ZoneInfo(zone)
    shown = datetime.combine(day, time()) + timedelta(minutes=minutes)
    early, again = (shown.replace(tzinfo=where, fold=fold).timestamp() for fold in (0, 1))
    if again < early:  # PEP 495: in a gap each fold counts with the offset of the other side
        return _jump(int(again), int(early), where)
    return again if late else early


def local_day(at: float, zone: str) -> date:
    """The date in a zone."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).date()


def local_and_utc(at: float, zone: str) -> str:
    """A moment for people: `Mon 2026-11-23 22:00 Europe/Berlin (2026-11-23 21:00Z)`."""
    local = datetime.fromtimestamp(at, ZoneInfo(zone))
    day = DAY_NAMES[local.weekday()].capitalize()
    return f"{day} {local:%Y-%m-%d %H:%M} {zone} ({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}Z)"


def _jump(before: int, after: int, where: ZoneInfo) -> float:
    """The moment between two at which a zone's offset changes."""
    offset = datetime.fromtimestamp(before, where).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, where).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return float(after)
