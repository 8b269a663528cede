"""Durations as people write them (`90s`, `5m`, `1h30m`), as seconds inside."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
LONGEST = 366 * 86400.0  # seconds; what takes longer is a slip of the pen
_UNIT = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPOKEN = {"s": "s", "m": "min", "h": "h", "d": "d"}


def parse_duration(text: Any) -> float:
    """Seconds of a number or of text such as `90s`, `5m`, `1h30m`.

    Raises ValueError for anything else; negative durations do not exist, nor any above a year.
    """
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 5m or 1h30m")
    if isinstance(text, int | float):
        seconds = float(min(text, LONGEST + 1))
    else:
        stripped = text.strip()
        parts = _PART.findall(stripped)
        if not parts or "".join(number + unit for number, unit in parts) != stripped:
            raise ValueError(f"{text!r} is not a duration; write it like 90s, 5m or 1h30m")
        seconds = sum(float(number) * _UNIT[unit] for number, unit in parts)
    if not 0 <= seconds <= LONGEST:
        shown = text if len(str(text)) <= 40 else f"{str(text)[:40]}..."
        raise ValueError(f"{shown!r} is not a duration: it must be 0 or longer, and a year at most")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back, to the second: 5400 -> `1h30m`."""
    rest = round(seconds)
    if rest <= 0:
        return "0s"
    out = ""
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNIT[unit]))
        out += f"{count}{unit}" if count else ""
    return out


def spoken(seconds: float) -> str:
    """A duration for people: 5400 -> `1 h 30 min`, to the second."""
    return " ".join(f"{number} {_SPOKEN[unit]}" for number, unit in _PART.findall(format_duration(seconds)))


def roughly(seconds: float) -> str:
    """A duration for people who wait for its end: up to a minute in tens of seconds, above it in minutes."""
    unit = 10 if seconds <= 60 else 60
    return spoken(max(1, math.ceil(seconds / unit)) * unit)


Seconds = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(ge=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d))+$"},
                {"type": "number", "minimum": 0},
            ],
            "examples": ["90s", "5m", "1h30m"],
        }
    ),
]
"""A duration field of the plan: text such as `5m` in the file, seconds inside."""
