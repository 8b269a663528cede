"""The times at which traffic may be moved, as plans have them: windows by clock, blackouts by date."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from inference_rollouts.core.schedule.zones import DAY_NAMES, TimeZone, moment_of
from inference_rollouts.core.values import Model

DAY = 24 * 60  # minutes


class Span(NamedTuple):
    """Two moments (Unix seconds); the second is outside."""

    opens: float
    closes: float


def _clock(value: Any) -> Any:
    """YAML reads an unquoted 22:00 as a number, to the base 60: that of its minutes."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= DAY:
        return f"{value // 60:02}:{value % 60:02}"
    return value


_CLOCK = r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"
Clock = Annotated[
    str, BeforeValidator(_clock), Field(pattern=_CLOCK), WithJsonSchema({"type": "string", "pattern": _CLOCK})
]
"""A time of the day, from `00:00` to `24:00`."""

_DAY = f"({'|'.join(DAY_NAMES)})"
Days = Annotated[str, Field(pattern=rf"^{_DAY}(-{_DAY})?$")]
"""A day of the week or several in a row: `mon`, `mon-fri`, `sat-mon`."""

Date = Annotated[date, Field(ge=date(2000, 1, 1), lt=date(3000, 1, 1))]


class Window(Model):
    """A time of the day at which weights may be raised."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Clock = Field(alias="from")
    """When it opens, such as `22:00`: where clocks show that twice, the second time."""
    to: Clock
    """When it closes, such as `06:00`, on the next day where that is not after `from`: where clocks show it
    twice, the first time."""
    timezone: TimeZone
    """The time zone of both."""
    days: Annotated[tuple[Days, ...], Field(min_length=1)] = ("mon-sun",)
    """The days on which it opens. Default: every day."""

    @model_validator(mode="after")
    def _long(self) -> Self:
        if self.from_ == self.to:
            raise ValueError(f"from and to are both {self.to}; a whole day is from 00:00 to 24:00")
        return self

    def spans(self, first: date, last: date) -> Iterator[Span]:
        """Its openings on the days from `first` to `last`, in order."""
        opens, closes = _minutes(self.from_), _minutes(self.to)
        closes += DAY if closes < opens else 0
        weekdays = self._weekdays()
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            if day.weekday() in weekdays:
                span = Span(
                    moment_of(day, opens, self.timezone, late=True),
                    moment_of(day, closes, self.timezone, late=False),
                )
                if span.opens < span.closes:
                    yield span

    def __str__(self) -> str:
        return f"{self.from_}-{self.to} {self.timezone} ({', '.join(self.days)})"

    def _weekdays(self) -> frozenset[int]:
        found: set[int] = set()
        for days in self.days:
            first, _, last = days.partition("-")
            start, end = DAY_NAMES.index(first), DAY_NAMES.index(last or first)
            found |= {(start + number) % 7 for number in range((end - start) % 7 + 1)}
        return frozenset(found)


class Blackout(Model):
    """Days on which no weight is raised, whatever the windows say."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Date = Field(alias="from")
    """The first day, such as 2026-12-23."""
    to: Date
    """The last day; it belongs to the blackout."""
    timezone: TimeZone
    """The time zone of both days."""
    reason: Annotated[str, Field(max_length=200)] = ""
    """What it is for."""

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.to < self.from_:
            raise ValueError(f"a blackout from {self.from_} to {self.to} ends before it begins")
        return self

    @property
    def span(self) -> Span:
        """From the first midnight that may be meant to the last."""
        return Span(
            moment_of(self.from_, 0, self.timezone, late=False),
            moment_of(self.to, DAY, self.timezone, late=True),
        )

    def __str__(self) -> str:
        return f"{self.from_} to {self.to} {self.timezone}{self.reason and f' ({self.reason})'}"


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)
