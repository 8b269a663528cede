"""Windows and moments as tests write them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from inference_rollouts.core.schedule.calendar import Calendar

BERLIN = "Europe/Berlin"


def at(local: str, zone: str = BERLIN, *, fold: int = 0) -> float:
    """The moment at which clocks in a zone show `2026-11-26 22:00`."""
    return datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def window(opens: str, closes: str, zone: str = BERLIN, **more: Any) -> dict[str, Any]:
    """As a plan has it."""
    return {"from": opens, "to": closes, "timezone": zone, **more}


def blackout(first: str, last: str, zone: str = BERLIN) -> dict[str, Any]:
    """As a plan has it."""
    return {"from": first, "to": last, "timezone": zone}


def calendar(*windows: dict[str, Any], **more: Any) -> Calendar:
    """Of windows as plans have them; `more` are other fields."""
    return Calendar.model_validate({"windows": windows, **more})


NIGHTS = window("22:00", "06:00")
