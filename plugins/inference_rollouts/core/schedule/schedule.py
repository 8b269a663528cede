"""When a rollout starts by itself: at its time, and not later than it may."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from inference_rollouts.core.durations import Seconds, format_duration
from inference_rollouts.core.schedule.zones import TimeZone, local_and_utc
from inference_rollouts.core.values import Model


class Schedule(Model):
    """When the DAG runs by itself."""

    cron: Annotated[str, Field(pattern=r"^\S+( \S+){4}$|^@\w+$")]
    """A cron expression, such as `0 2 * * 1-5`."""
    timezone: TimeZone
    """The time zone in which it holds, such as Europe/Berlin."""
    start_within: Seconds = 3600.0
    """How late a run may start; a later one ends at once and writes nothing. Default: 1h, so that after an
    outage, or a long run before, nothing starts in the middle of the day."""

    @model_validator(mode="before")
    @classmethod
    def _zoned(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("cron") and not value.get("timezone"):
            raise ValueError(
                "a cron means nothing without its time zone; add `timezone: UTC`, which held without one "
                "until now, or your own, such as Europe/Berlin"
            )
        return value

    def too_late(self, due: float, now: float) -> str:
        """Why a run that was due (both Unix seconds) is not to start any more; empty where it is."""
        if now - due <= self.start_within:
            return ""
        return (
            f"It was due at {local_and_utc(due, self.timezone)}, and may start at most "
            f"{format_duration(self.start_within)} late: nothing was written. The next one comes at its "
            "time; start a run by hand to roll out now."
        )

    def __str__(self) -> str:
        return f"{self.cron} {self.timezone}"
