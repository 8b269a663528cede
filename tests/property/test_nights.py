"""A year of nights: each raise in a window, each rollout with an end, each night's version the right one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from inference_rollouts.core.errors import WindowClosed
from inference_rollouts.core.run.pace import judged_by, pace_of, raised_by, until_judged
from inference_rollouts.core.schedule.calendar import AtWindowEnd, Calendar
from inference_rollouts.core.schedule.moves import leave_by, require_open
from inference_rollouts.core.schedule.outlook import outlook
from inference_rollouts.core.schedule.schedule import Schedule
from inference_rollouts.core.schedule.waves import waits_for
from inference_rollouts.core.schedule.windows import Span
from inference_rollouts.core.schedule.zones import DAY_NAMES, moment_of
from inference_rollouts.core.versions.choice import Choice, Rules, choose
from inference_rollouts.core.versions.memory import Allowed, Became, Fate, Memory
from inference_rollouts.core.versions.version import Version
from tests.support.calendars import blackout, window
from tests.support.plans import llm_plan
from tests.support.versions import version

YEAR, HOUR = 2026, 3600.0
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC", "Africa/Cairo")
PLAN = llm_plan(initial_delay=0, deadlines={"route": "10m", "abandon": "5m"})
STEPS = len(PLAN.all_steps)

clocks = st.integers(0, 24 * 60 - 1).map(lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}")
zones = st.sampled_from(ZONES)
days = st.lists(st.sampled_from(DAY_NAMES), min_size=1, max_size=7, unique=True)
dates = st.dates(datetime(YEAR, 1, 1).date(), datetime(YEAR, 12, 1).date())
windows = st.builds(lambda a, b, zone, on: window(a, b, zone, days=on), clocks, clocks, zones, days).filter(
    lambda each: each["from"] != each["to"]
)
blackouts = st.builds(
    lambda first, length, zone: blackout(str(first), str(first + timedelta(days=length)), zone),
    dates,
    st.integers(0, 30),
    zones,
)
calendars = st.builds(
    lambda opens, closed, at_end: Calendar.model_validate(
        {"windows": opens, "blackouts": closed, "at_window_end": at_end}
    ),
    st.lists(windows, max_size=3),
    st.lists(blackouts, max_size=3),
    st.sampled_from(AtWindowEnd),
)
outages = st.lists(
    st.builds(
        lambda start, length: Span(start, start + length),
        st.floats(moment_of(datetime(YEAR, 1, 1).date(), 0, "UTC", late=False), 1.8e9),
        st.floats(60.0, 60 * HOUR),
    ),
    max_size=12,
).map(sorted)


@dataclass(frozen=True)
class Ended:
    """How a rollout ended, when, and when it was raised."""

    how: str
    at: float
    raises: tuple[float, ...]


def shown_open(calendar: Calendar, at: float) -> bool:
    """What people read off a clock and a plan, minute by minute; of an hour shown twice both times."""

    def in_window(opens: str, closes: str, zone: str, on: Sequence[str]) -> bool:
        local = datetime.fromtimestamp(at, ZoneInfo(zone))
        clock, today = f"{local:%H:%M}", DAY_NAMES[local.weekday()]
        if opens < closes:
            return opens <= clock < closes and today in on
        yesterday = DAY_NAMES[local.weekday() - 1]
        return (clock >= opens and today in on) or (clock < closes and yesterday in on)

    def in_blackout(first: object, last: object, zone: str) -> bool:
        return str(first) <= str(datetime.fromtimestamp(at, ZoneInfo(zone)).date()) <= str(last)

    opened = [in_window(each.from_, each.to, each.timezone, each.days) for each in calendar.windows]
    closed = [in_blackout(each.from_, each.to, each.timezone) for each in calendar.blackouts]
    return (any(opened) or not opened) and not any(closed)


def up(outages: Sequence[Span], at: float) -> float:
    """The next moment at which somebody drives."""
    for outage in outages:
        if outage.opens <= at < outage.closes:
            at = outage.closes
    return at


def roll_out(calendar: Calendar, outages: Sequence[Span], ready: float, took: Sequence[float]) -> Ended:
    """One rollout: somebody drives while there is no outage, and a guardian ends what nobody drives."""
    raises: list[float] = []
    now = ready
    for step, seconds in enumerate(took, start=1):
        due = raised_by(PLAN, calendar, step, now)
        while True:
            now = up(outages, now)
            if now > due + PLAN.deadlines.abandon:
                return Ended("abandoned", due + PLAN.deadlines.abandon, tuple(raises))
            try:
                require_open(calendar, step, now)
                break
            except WindowClosed as closed:
                if closed.opens is None:
                    return Ended("rolled back", now, tuple(raises))
                due = raised_by(PLAN, calendar, step, now)
                now = closed.opens
        raises.append(now)
        due = judged_by(PLAN, calendar, step, now)
        leave, judged = leave_by(calendar, now), up(outages, now + min(seconds, until_judged(PLAN, step)))
        now = min(judged, up(outages, leave)) if leave < judged else judged
        if now > due + PLAN.deadlines.abandon:
            return Ended("abandoned", due + PLAN.deadlines.abandon, tuple(raises))
        if leave < judged:
            return Ended("rolled back", now, tuple(raises))
    return Ended("promoted", now, tuple(raises))


MONTH = 30 * 24 * HOUR
FIRST = moment_of(datetime(YEAR, 1, 1).date(), 0, "UTC", late=False)
releases = st.lists(
    st.tuples(st.floats(FIRST - MONTH, FIRST + 12 * MONTH), st.booleans()), min_size=1, max_size=40
).map(sorted)


@dataclass
class Service:
    """A service whose source gets these `releases` in the course of the year: when, and whether it is bad.

    What it knows is kept as the pipeline keeps it (`memory`), and as anybody would (`bad`, `serves`).
    """

    releases: Sequence[tuple[float, bool]]
    min_age: float
    memory: Memory = field(default_factory=Memory)
    bad: set[str] = field(default_factory=set)
    serves: int = -1

    def source(self, now: float) -> list[Version]:
        """What a registry has now, the newest first."""
        out = [version(f"v1.{n}.0", since) for n, (since, _) in enumerate(self.releases) if since <= now]
        return out[::-1]

    def choose(self, now: float) -> Choice:
        return choose(self.source(now), Rules(memory=self.memory, min_age=self.min_age), now)

    def expected(self, now: float) -> str | None:
        """What the rules say, in the plainest words: the newest that is old enough, not bad and not older."""
        right = [
            n
            for n, (since, _) in enumerate(self.releases)
            if n > self.serves and now - since >= self.min_age and f"v1.{n}.0" not in self.bad
        ]
        return f"v1.{right[-1]}.0" if right else None

    def rolled_out(self, chosen: Version, how: str, at: float, *, left: bool) -> None:
        """What becomes of a version; that a window closed is not held against it."""
        if how == "promoted":
            self.serves = int(chosen.name.split(".")[1])
        elif not left:
            self.bad.add(chosen.name)
        if how == "promoted" or not left:
            became = Became.PROMOTED if how == "promoted" else Became.ROLLED_BACK
            fate = Fate(version=chosen, became=became, run=f"night {at}", at=at)
            self.memory = self.memory.with_([fate])

    def is_bad(self, chosen: Version) -> bool:
        return self.releases[int(chosen.name.split(".")[1])][1]

    def forgive(self, at: float) -> None:
        """A person allows all that was rolled back."""
        for fate in self.memory.fates:
            self.memory = self.memory.allow(fate.version, Allowed(by="kim", because="mended", at=at))
        self.bad.clear()


@settings(max_examples=30, deadline=None)
@given(
    calendars,
    outages,
    st.lists(st.floats(0.0, 3 * HOUR), min_size=STEPS, max_size=STEPS),
    zones,
    st.integers(0, 24 * 60 - 1),
    releases,
    st.floats(0.0, 10 * 24 * HOUR),
    st.integers(1, 400),
)
def test_a_year_of_nights(
    calendar: Calendar,
    outages: Sequence[Span],
    took: Sequence[float],
    zone: str,
    minutes: int,
    releases: Sequence[tuple[float, bool]],
    min_age: float,
    forgiven_every: int,
) -> None:
    schedule = Schedule.model_validate({"cron": "0 0 * * *", "timezone": zone})
    first, busy_until, days = datetime(YEAR, 1, 1).date(), 0.0, 365
    service, ended_well = Service(releases, min_age), dict[str, float]()
    for night in range(days):
        due = moment_of(first + timedelta(days=night), minutes, zone, late=True)
        begins = up(outages, max(due, busy_until))
        if schedule.too_late(due, begins):
            continue
        assert begins <= due + schedule.start_within
        if night % forgiven_every == forgiven_every - 1:
            service.forgive(begins)
        chosen = service.choose(begins).version
        assert (chosen.name if chosen else None) == service.expected(begins)
        if chosen is None:
            ended_well["first"] = due
            continue
        try:
            outlook(calendar, pace_of(PLAN), begins)
        except WindowClosed:
            continue
        ended = rolled_out(service, chosen, calendar, outages, begins, took)
        busy_until = ended.at
        if ended.how == "promoted":
            ended_well["first"] = due
        assert_second_waits(ended_well, ended, due)
        assert_ended_as_it_should(calendar, ended)


def rolled_out(
    service: Service,
    chosen: Version,
    calendar: Calendar,
    outages: Sequence[Span],
    begins: float,
    took: Sequence[float],
) -> Ended:
    """One night's rollout, whose canary is found bad at its first step if it is."""
    ended = roll_out(calendar, outages, begins, took)
    if service.is_bad(chosen) and ended.raises:
        ended = Ended("rolled back", min(ended.at, ended.raises[0] + took[0]), ended.raises[:1])
        service.rolled_out(chosen, ended.how, ended.at, left=False)
    else:
        service.rolled_out(chosen, ended.how, ended.at, left=ended.how != "promoted")
    return ended


def assert_second_waits(ended_well: dict[str, float], ended: Ended, due: float) -> None:
    """The service that comes after this one starts in a night only if this one ended well in it."""
    starts = not waits_for(("first",), ended_well, 8 * HOUR, ended.at)
    well_tonight = ended_well.get("first", 0.0) >= due
    assert starts == (ended.at - ended_well.get("first", 0.0) <= 8 * HOUR)
    if not well_tonight and ended.at - due > 0 and due - ended_well.get("first", 0.0) > 8 * HOUR:
        assert not starts


def assert_ended_as_it_should(calendar: Calendar, ended: Ended) -> None:
    assert ended.how in ("promoted", "rolled back", "abandoned")
    assert math.isfinite(ended.at)
    bound = ended.raises[:1] if calendar.at_window_end is AtWindowEnd.FINISH else ended.raises
    assert all(shown_open(calendar, moment) for moment in bound)
    if calendar.at_window_end is AtWindowEnd.ROLLBACK and ended.raises:
        closes = calendar.span(ended.raises[-1])
        assert closes is not None
        assert ended.at <= closes.closes + PLAN.deadlines.abandon
