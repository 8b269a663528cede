"""Will it finish? How a rollout goes through its windows, by what its steps take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inference_rollouts.core.durations import format_duration
from inference_rollouts.core.errors import WindowClosed
from inference_rollouts.core.schedule.calendar import AtWindowEnd, Calendar
from inference_rollouts.core.schedule.moves import leave_by, next_raise
from inference_rollouts.core.schedule.windows import Span
from inference_rollouts.core.schedule.zones import local_and_utc

SHOWN = 5  # openings that people are shown


@dataclass(frozen=True, slots=True)
class Pace:
    """What the steps of a rollout take, in seconds: `least` is bake times alone, `most` what deadlines allow.

    `preparation` is the most that passes before the first raise.
    """

    least: tuple[float, ...]
    most: tuple[float, ...]
    preparation: float


@dataclass(frozen=True, slots=True)
class Course:
    """When each step is raised, and when the last has passed (Unix seconds)."""

    raises: tuple[float, ...]
    done: float


def course(calendar: Calendar, durations: Sequence[float], at: float) -> Course:
    """How a rollout goes that is ready for its first raise at a moment, and whose steps take so long.

    Raises WindowClosed when it goes back because a window closes, or because none opens.
    """
    raises: list[float] = []
    for step, seconds in enumerate(durations, start=1):
        raises.append(next_raise(calendar, step, at))
        at = raises[-1] + seconds
        if at > leave_by(calendar, raises[-1]):
            raise WindowClosed(f"The window closes before step {step} can have passed.")
    return Course(tuple(raises), at)


def ends_by(calendar: Calendar, pace: Pace, now: float) -> float:
    """When a rollout that begins now is over, if all takes as long as it may (Unix seconds)."""
    begun = next_raise(calendar, 1, now + pace.preparation)
    try:
        return course(calendar, pace.most, begun).done
    except WindowClosed:
        return min(leave_by(calendar, begun), begun + sum(pace.most))


def latest_start(span: Span, durations: Sequence[float]) -> float | None:
    """The latest first raise after which all steps pass in a window; None where it is too short for them."""
    latest = span.closes - sum(durations)
    return latest if latest >= span.opens else None


def openings(calendar: Calendar, now: float) -> list[str]:
    """The next times at which weights may be raised, local and UTC, that of now among them."""
    return [
        f"{_moment(calendar, max(now, span.opens))} to {_moment(calendar, span.closes)}"
        for span, _ in zip(calendar.spans(now), range(SHOWN), strict=False)
    ]


def outlook(calendar: Calendar, pace: Pace, now: float) -> list[str]:
    """What people should know of a rollout that begins now; nothing where nothing restricts it.

    Raises WindowClosed, with the latest start that would do, when it cannot finish.
    """
    if not calendar.restricts:
        return []
    first = next_raise(calendar, 1, now)
    try:
        shortest = course(calendar, pace.least, first)
    except WindowClosed as error:
        raise WindowClosed(f"{error} {_needs(pace)} {_long_enough(calendar, pace, now)}") from error
    said = [] if first == now else [f"No weight is raised before {_moment(calendar, first)}."]
    span = calendar.span(first)
    assert span is not None
    if max(first, now + pace.preparation) + sum(pace.most) <= span.closes:
        return said
    latest = latest_start(span, pace.least)
    will = "will" if shortest.done > span.closes else "may"
    by = f" The latest first raise for it is at {_moment(calendar, latest)}." if latest else ""
    return [
        *said,
        f"It {will} not be over when the window closes at {_moment(calendar, span.closes)}: it "
        f"{_THEN[calendar.at_window_end]} then, and is over at {_moment(calendar, shortest.done)} at the "
        f"earliest. {_needs(pace)}{by}",
    ]


def prospect(calendar: Calendar, likely: Sequence[float], at: float) -> str:
    """When a rollout that is ready for its first raise at a moment is over, if its steps take so long (s)."""
    takes = format_duration(round(sum(likely)))
    try:
        expected = course(calendar, likely, at)
    except WindowClosed as error:
        return f"it takes {takes} from the first raise on. {error}"
    span = calendar.span(expected.raises[0])
    assert span is not None
    over = f"it takes {takes} from the first raise on and is over at about {_moment(calendar, expected.done)}"
    if expected.done <= span.closes:
        return f"{over}, before its window closes at {_moment(calendar, span.closes)}."
    latest = latest_start(span, likely)
    by = f" The latest first raise for it is at {_moment(calendar, latest)}." if latest else ""
    return f"{over}, after its window closes at {_moment(calendar, span.closes)}.{by}"


_THEN = {
    AtWindowEnd.STAY: "keeps its share until the next opening",
    AtWindowEnd.FINISH: "goes on",
    AtWindowEnd.ROLLBACK: "goes back",
}


def _needs(pace: Pace) -> str:
    least, most = (format_duration(sum(durations)) for durations in (pace.least, pace.most))
    return f"From the first raise on it takes {least} by its bake times alone, and {most} at most."


def _long_enough(calendar: Calendar, pace: Pace, now: float) -> str:
    """The next window in which a rollout can finish."""
    for span in calendar.spans(now):
        latest = latest_start(span, pace.least)
        if latest is not None and latest >= now:
            opens = _moment(calendar, max(now, span.opens))
            return f"In the window from {opens} on its first raise must come by {_moment(calendar, latest)}."
    return "No window within a year is long enough for that."


def _moment(calendar: Calendar, at: float) -> str:
    return "any time" if math.isinf(at) else local_and_utc(at, calendar.zone)
