"""The decision record: all that a judge knew and concluded, as canonical JSON lines that can be judged again.

The first line has the rules of a step, each later one an observation: the windows since the line before, the
health it saw and its judgement. `replay` computes the judgements anew; they are the same, byte for byte.
"""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import msgspec
from pydantic import ValidationError

from inference_rollouts.core.errors import DecisionRecordBroken
from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.judging.judge import absorb, begin, conclude
from inference_rollouts.core.judging.judgement import Judgement, Verdict
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.policy import Health, Policy, StepContext
from inference_rollouts.core.judging.queries import Query
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.core.values import mistakes

VERSION = 12  # of what is counted and how it is judged; a record of another one gives other verdicts
EVERY = 60.0  # seconds after which an observation is recorded even if it changed nothing
BOUND = 256 * 1024  # bytes of a record that goes where space is short
GAP = 64  # of them for the line that counts what is missing
MOST = 2**53  # events of one window; more is no count


_ENCODER = msgspec.json.Encoder(order="sorted", enc_hook=vars)


def canonical(value: Any) -> str:
    """The one JSON text of plain data, of our values, or of both: sorted keys, no spaces."""
    return _ENCODER.encode(value).decode()


class _Said(NamedTuple):
    """What decides whether a judgement is worth a line; all of one is large."""

    verdict: Verdict
    blame: str | None
    time: float


class DecisionRecorder:
    """Writes one step's record, line after line: `head` is the first, `observation` gives the others."""

    def __init__(
        self,
        policy: Policy,
        metric_set: MetricSet,
        step: StepContext,
        carried: Carried,
        queries: Sequence[Query],
    ) -> None:
        head = {
            "kind": "step",
            "version": VERSION,
            "policy": policy.to_json(),
            "metric_set": metric_set.to_json(),
            "step": step.to_json(),
            "carried": carried.to_json(),
            "queries": {query.key: query.promql for query in queries},
        }
        self.head = canonical(head)
        self._windows: list[bytes] = []  # as JSON, compressed: in a thirtieth of the room
        self._last: _Said | None = None

    def window(self, window: WindowCounts) -> None:
        """A window that the next judgement knows of."""
        self._windows.append(zlib.compress(_ENCODER.encode(window), 1))

    def observation(self, health: Health, judgement: Judgement, *, last: bool = False) -> str | None:
        """The new line, or None when nothing changed, the last line is younger than a minute, and this is not
        the step's `last`."""
        said = _Said(judgement.verdict, judgement.blame, judgement.time)
        if self._last and not last and not _worth_a_line(self._last, said):
            return None
        windows = [msgspec.Raw(zlib.decompress(window)) for window in self._windows]
        line = canonical(_observation(windows, health, judgement))
        self._windows, self._last = [], said
        return line


class Newest:
    """The rules and the newest observations of a record, at most `limit` bytes: what goes where space is
    short."""

    def __init__(self, head: str, limit: int = BOUND) -> None:
        self._head = head
        self._room = limit - _size(head) - GAP
        self._kept: deque[bytes] = deque()  # compressed: there may be very many observers
        self._left_out = 0

    def add(self, line: str) -> None:
        """An observation, in place of the oldest where there is no room for all."""
        self._kept.append(zlib.compress(line.encode(), 1))
        self._room -= _size(line)
        while self._room < 0 and self._kept:
            self._room += len(zlib.decompress(self._kept.popleft())) + 1
            self._left_out += 1

    @property
    def lines(self) -> list[str]:
        """The record, with a line that counts the observations that are missing, if any are."""
        gap = [canonical({"kind": "gap", "observations": self._left_out})] if self._left_out else []
        return [self._head, *gap, *(zlib.decompress(line).decode() for line in self._kept)]


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation of a record: the windows since the one before, the health, and what was concluded
    when."""

    windows: tuple[WindowCounts, ...]
    health: Health
    judgement: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step's record, read. `head` is its first line as it was written."""

    head: dict[str, Any]
    policy: Policy
    metric_set: MetricSet
    step: StepContext
    carried: Carried
    seen: tuple[Seen, ...]


def read(lines: Iterable[str]) -> StepRecord:
    """A whole record. Raises DecisionRecordBroken when lines are missing, unreadable, or of another
    version."""
    with refusing():
        head, *observations = (json.loads(line) for line in lines)
        if head["kind"] != "step" or any(line["kind"] != "observation" for line in observations):
            raise DecisionRecordBroken("this record was shortened; only a whole one can be judged again")
        if (version := head.get("version", 1)) != VERSION:
            raise DecisionRecordBroken(
                f"this record is of version {version}, and this release judges version {VERSION}: its "
                "verdicts followed other rules; judge it with the release that wrote it"
            )
        metric_set = MetricSet.from_json(head["metric_set"])
        return StepRecord(
            head=head,
            policy=Policy.from_json(head["policy"]),
            metric_set=metric_set,
            step=StepContext.from_json(head["step"]),
            carried=Carried.from_json(head["carried"]),
            seen=tuple(_read(metric_set, each) for each in observations),
        )


@contextmanager
def refusing() -> Iterator[None]:
    """What goes wrong with lines of others is said in words. Raises DecisionRecordBroken instead."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        match error:
            case ValidationError():
                words = mistakes(error)
            case KeyError():
                words = f"it lacks {error}"
            case _:
                words = str(error)
        raise DecisionRecordBroken(f"this is not a decision record: {words}") from error


def _read(metric_set: MetricSet, line: dict[str, Any]) -> Seen:
    windows = tuple(WindowCounts.from_json(window) for window in line["windows"])
    for window in windows:
        _check(metric_set, window)
    said = line["judgement"]
    needed = {
        "time": float(said["time"]),
        "verdict": Verdict(said["verdict"]).value,
        "reason": str(said["reason"]),
    }
    return Seen(windows, Health.from_json(line["health"]), {**said, **needed})


def _check(metric_set: MetricSet, window: WindowCounts) -> None:
    """Raises ValueError for counts that this metric set does not give."""
    if window.end <= window.start:
        raise ValueError(f"a window ends at {window.end:.12g}, where it begins or before")
    for metric in metric_set.judged:
        if (counts := window.counts.get(metric.name)) is None:
            continue
        places = len(metric.thresholds)
        if any(len(each) != places for each in counts.by_threshold):
            raise ValueError(f"counts of {metric.name!r} are not of its {places} thresholds")
        for arm in (counts.canary, counts.stable):
            if not all(0 <= bad <= arm.n <= MOST for bad in arm.bad):
                figures = f"{arm.n} events of {metric.name!r}, {[*arm.bad]} of them bad"
                raise ValueError(f"{figures}, are no counts")


def windows_in(lines: Iterable[str]) -> list[WindowCounts]:
    """The windows of a record, also of a shortened one. Raises DecisionRecordBroken for other lines."""
    with refusing():
        read_lines = [json.loads(line) for line in lines]
        windows = [window for line in read_lines for window in line.get("windows", ())]
        return [WindowCounts.from_json(window) for window in windows]


def replay(lines: Iterable[str]) -> list[str]:
    """The record as it would be written today, from its rules, windows and health alone.

    Equal to `lines` when nothing was changed. Raises DecisionRecordBroken when lines are missing, unreadable,
    or of another version.
    """
    record = read(lines)
    with refusing():
        sums = begin(record.policy, record.metric_set, record.step, record.carried)
        again = [canonical(record.head)]
        for seen in record.seen:
            sums = reduce(absorb, seen.windows, sums)
            judgement = conclude(sums, seen.health, seen.judgement["time"])
            again.append(canonical(_observation(seen.windows, seen.health, judgement)))
    return again


def _size(line: str) -> int:
    return len(line.encode()) + 1


def _worth_a_line(last: _Said, now: _Said) -> bool:
    changed = (last.verdict, last.blame) != (now.verdict, now.blame)
    return changed or now.time - last.time >= EVERY


def _observation(
    windows: Sequence[WindowCounts | msgspec.Raw], health: Health, judgement: Judgement
) -> dict[str, Any]:
    return {
        "kind": "observation",
        "windows": windows,
        "health": health,
        "judgement": judgement,
    }
