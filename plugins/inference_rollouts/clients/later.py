"""When a server that cannot do it now wants to be asked again."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime

BUSY = (429, 503)


def told_to_wait(status: int, after: str | None, date: str | None, now: float) -> float:
    """Seconds, by the headers Retry-After and Date of an answer (RFC 9110) that came at Unix time `now`.

    0 where it does not say, and where what it says is no time.
    """
    if status not in BUSY or not after:
        return 0.0
    if after.strip().isdecimal():
        seconds = float(after)
        return seconds if math.isfinite(seconds) else 0.0
    begun = _moment(date)
    until = _moment(after)
    return max(0.0, until - (now if begun is None else begun)) if until is not None else 0.0


def _moment(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
