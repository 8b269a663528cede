"""What every raw series has shown so far: how much each pod has counted since the last good observation.

Growth and resets belong to a *raw* series, with all its labels. Summed first, two targets that scrape one
pod, or worker processes that each count for themselves, look like restarts, and a restart looks like a storm.

- A pod that several targets scrape is counted by one of them. The series of a target carry all labels of its
  start time.
- A counter falls only when its process has started anew since it was last seen. A fall without that is no
  restart, and nothing is counted of that metric there.
- A series that was there and is missing leaves its metric uncounted at that pod, and so does one that comes
  back: its past is not this window's. One that was missing in two observations or more was never there, and
  begins at 0 as counters do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inference_rollouts.core.judging.metrics import SERIES, STARTED, Arm

Labels = Mapping[str, str]
Sample = tuple[Labels, float]
Series = frozenset[tuple[str, str]]
"""All labels of a raw series."""
Key = tuple[str, float | None]
"""Tag of a series and, for a bucket, its bound."""

CLOCK = 1.0  # seconds by which the start time of one process may differ from scrape to scrape
FORGOTTEN = 3600.0  # seconds after which a target that went is as if it had never been
SETTLED = 2  # observations of a target after which a series that none of them showed is a new one
LATE = 60.0  # seconds that the scrape before a window's begin may be older than it: a restart may lie there
NO_LABELS: Series = frozenset()
IGNORED = frozenset({SERIES, "__name__"})


@dataclass(frozen=True, slots=True)
class Growth:
    """What one target of a pod counted in one window, by tag and bound.

    `broken` are the tags of which nothing is known, `fell` those that fell without a restart.
    """

    values: Mapping[Key, float]
    broken: frozenset[str] = frozenset()
    fell: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Target:
    """One target of one pod, as it was last `seen`; `values` of every series in this life, last seen `at`.

    `mixed`: several processes answer there by turns. `times`: how often it was seen in this life.
    """

    seen: float = -math.inf
    started: float | None = None
    mixed: bool = False
    times: int = 0
    values: dict[Series, float] = field(default_factory=dict)
    at: dict[Series, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One target of one pod in one answer."""

    started: float | None
    values: Mapping[Series, tuple[Key, float]]


Pods = dict[str, dict[Series, _Reading]]
"""The targets of each pod of an arm."""


class Ledger:
    """The series of both arms, observation after observation."""

    def __init__(self, arms: Sequence[Arm], pod_label: str) -> None:
        self._arms = arms
        self._pod = pod_label
        self._targets: dict[tuple[str, str, Series], _Target] = {}

    def observe(self, read: Sequence[Pods], time: float, since: float) -> list[dict[str, list[Growth]]]:
        """By arm and pod: what each of its targets shows since the observation at `since`.

        From now on what was `read` is the baseline.
        """
        grown: list[dict[str, list[Growth]]] = []
        for arm, pods in zip(self._arms, read, strict=True):
            by_pod = {
                pod: [
                    self._grow((arm.value, pod, name), reading, time, since)
                    for name, reading in sorted(targets.items(), key=lambda item: sorted(item[0]))
                ]
                for pod, targets in sorted(pods.items())
            }
            grown.append(by_pod)
        forgotten = [name for name, each in self._targets.items() if time - each.seen > FORGOTTEN]
        for name in forgotten:
            del self._targets[name]
        return grown

    def read(self, samples: Sequence[Sample]) -> list[Pods]:
        """By arm, pod and target: what an answer holds. Values that count nothing are as good as absent.

        A start time without an arm is that of a process which counts for all of them: where it exports any
        of their series, an arm without series is one that has had no request yet.
        """
        label = self._arms[0].label
        starts: dict[tuple[str | None, str], dict[Series, float]] = {}
        values: dict[tuple[str | None, str], list[tuple[Series, Key, float]]] = {}
        for labels, value in samples:
            if not 0 <= value < math.inf:
                continue
            where = labels.get(label), labels.get(self._pod, "")
            tag, le = labels.get(SERIES, ""), labels.get("le")
            series = frozenset(labels.items())
            if tag == STARTED:
                starts.setdefault(where, {})[_without(series)] = value
            else:
                key = (tag, None if le is None else float(le))
                values.setdefault(where, []).append((series, key, value))
        counting = {pod for arm, pod in values}
        return [dict(self._pods(arm, starts, values, counting)) for arm in self._arms]

    def _pods(
        self,
        arm: Arm,
        starts: Mapping[tuple[str | None, str], Mapping[Series, float]],
        values: Mapping[tuple[str | None, str], Sequence[tuple[Series, Key, float]]],
        counting: set[str],
    ) -> Iterator[tuple[str, dict[Series, _Reading]]]:
        own = {pod for value, pod in (*starts, *values) if value == arm.value}
        shared = {pod for value, pod in starts if value is None and pod in counting}
        for pod in own | shared:
            begun = starts.get((arm.value, pod), {}) or starts.get((None, pod), {})
            yield pod, _split(begun, values.get((arm.value, pod), ()))

    def _grow(self, name: tuple[str, str, Series], now: _Reading, time: float, since: float) -> Growth:
        """What a target counted since `since`."""
        known = self._targets.setdefault(name, _Target())
        growth = _growth(known, now, since)
        if moved := _moved(known.started, now.started):
            known.values, known.at, known.times = {}, {}, 0
            known.mixed = known.mixed or moved < 0
        known.times += 1
        known.seen, known.started = time, known.started if now.started is None else now.started
        for series, (_, value) in now.values.items():
            known.values[series], known.at[series] = value, time
        return growth


def _growth(known: _Target, now: _Reading, since: float) -> Growth:
    """What a target that is `known` as it was before has counted since `since`."""
    there, moved = known.seen == since, _moved(known.started, now.started)
    if moved < 0 or known.mixed:
        return _unknown(now, fell=True)
    if (moved or known.seen == -math.inf) and _began(now, since, there=there):
        return _since_start(now)
    if moved or not there:
        return _unknown(now, fell=False)
    return _compared(known, now, since)


def _moved(before: float | None, now: float | None) -> int:
    """Whether a process started anew (1). One that started earlier than it had (-1) is another beside it."""
    if before is None or now is None or abs(now - before) <= CLOCK:
        return 0
    return 1 if now > before else -1


def _began(now: _Reading, since: float, *, there: bool) -> bool:
    """Whether the process began after the last scrape before `since`, if there was one."""
    return now.started is not None and now.started >= since - LATE * there


def _unknown(now: _Reading, *, fell: bool) -> Growth:
    """Nobody knows where it began."""
    tags = frozenset(tag for (tag, _), _ in now.values.values())
    return Growth(_since_start(now).values, tags, tags if fell else frozenset())


def _compared(known: _Target, now: _Reading, since: float) -> Growth:
    """The growth of a process that has gone on."""
    values: dict[Key, float] = {}
    broken, fell = set(), set()
    for series in known.values.keys() - now.values.keys():
        broken.add(_tag(series))
    for series, (key, value) in now.values.items():
        before = known.values.get(series, 0.0)
        if known.at.get(series, since) != since or (series not in known.at and known.times < SETTLED):
            broken.add(key[0])
        if value < before:
            fell.add(key[0])
        values[key] = values.get(key, 0.0) + value - before
    return Growth(values, frozenset(broken), frozenset(fell))


def _since_start(now: _Reading) -> Growth:
    """The growth of a process that began in the window."""
    values: dict[Key, float] = {}
    for key, value in now.values.values():
        values[key] = values.get(key, 0.0) + value
    return Growth(values)


def _split(
    starts: Mapping[Series, float], values: Sequence[tuple[Series, Key, float]]
) -> dict[Series, _Reading]:
    """The series of one pod by the target that they carry all labels of; what carries no one's is its own."""
    if len(starts) == 1:
        [(target, started)] = starts.items()
        return {target: _Reading(started, {series: (key, value) for series, key, value in values})}
    by_target: dict[Series, dict[Series, tuple[Key, float]]] = {target: {} for target in starts}
    for series, key, value in values:
        target = next((each for each in starts if each <= series), NO_LABELS)
        by_target.setdefault(target, {})[series] = key, value
    return {target: _Reading(starts.get(target), series) for target, series in by_target.items()}


def _without(series: Series) -> Series:
    return frozenset(pair for pair in series if pair[0] not in IGNORED)


def _tag(series: Series) -> str:
    return next((value for name, value in series if name == SERIES), "")
