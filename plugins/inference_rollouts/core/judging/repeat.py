"""Counting the same series again, in arrays: what one observation in many thousands is.

Where the series of an answer are those of the last one, in the same order, where nothing started anew and
nothing fell, all that `ledger` and `counts` would work out about them is known already, and only their values
are new. Anything else is theirs: what was counted here is given back to them first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.labels import LabelSets, Samples
from inference_rollouts.core.judging.layouts import Places, places
from inference_rollouts.core.judging.ledger import Ledger, Pods, Reading, Target
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.raw_series import START, Key, Name, Sample, key_of
from inference_rollouts.core.judging.sites import CLOCK
from inference_rollouts.core.judging.spellings import bad_in, events_in, is_otherwise

Floats = NDArray[np.float64]
Unit = tuple[str, str, str]
"""The value of an arm's label, a pod, and a metric."""
Place = tuple[int, Key]
"""A target, by its number, and what it counts."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of one pod is one metric: by places in the growth of each of its servers, all `events` and, by
    threshold, those that are `marked`. `rest`: the others are the bad ones. `lenient`: ends may come before
    events.
    """

    unit: Unit
    events: tuple[Place, ...]
    marked: tuple[tuple[Place, ...], ...]
    rest: bool
    lenient: bool


def parts_of(metric_set: MetricSet, arms: Sequence[Arm], read: Sequence[Pods]) -> list[Part]:
    """What is counted of an answer that was `read`, in the order of metrics, arms, and pods."""
    parts = []
    seen = [_keys(reading) for by_pod in read for targets in by_pod.values() for reading in targets.values()]
    for metric in metric_set.metrics:
        place, other = 0, is_otherwise(metric, seen)
        for arm, by_pod in zip(arms, read, strict=True):
            for pod in sorted(by_pod):
                firsts: dict[str, Part] = {}
                for name, reading in sorted(by_pod[pod].items(), key=lambda item: sorted(item[0])):
                    unit, server = (arm.value, pod, metric.name), arm.server_of(name)
                    if server not in firsts and (part := _part(metric, unit, place, _keys(reading), other)):
                        firsts[server] = part
                    place += 1
                parts += _together(list(firsts.values()))
    return parts


def _together(servers: Sequence[Part]) -> list[Part]:
    """Those of a pod's servers as one, if there are any."""
    if len(servers) < 2:
        return list(servers)
    events = tuple(place for each in servers for place in each.events)
    marked = zip(*(each.marked for each in servers), strict=True)
    return [replace(servers[0], events=events, marked=tuple(sum(each, ()) for each in marked))]


def _keys(reading: Reading) -> set[Key]:
    return {series.key for series in reading.values}


def _part(
    metric: Rate | Latency, unit: Unit, target: int, keys: Collection[Key], otherwise: bool
) -> Part | None:
    """None where a target does not export all of a metric."""
    events = events_in(metric, keys, otherwise)
    if events is None:
        return None
    if isinstance(metric, Latency):
        bounds = [(events[0], threshold) for threshold in metric.thresholds]
        if not all(bound in keys for bound in bounds):
            return None
        ends = tuple(((target, bound),) for bound in bounds)
        return Part(unit, ((target, events),), ends, rest=True, lenient=False)
    marks = bad_in(metric, keys)
    worse_lower = metric.direction != "higher-is-worse"
    marked = ((target, marks),) if marks else ()
    return Part(unit, ((target, events),), (marked,), rest=worse_lower, lenient=worse_lower)


@dataclass(frozen=True, slots=True)
class Found:
    """Where the series of an answer are: targets in order, the samples of each, and that of its start."""

    series: LabelSets
    pods: Collection[str] | None
    targets: list[tuple[Target, Places, int | None]]


def found(
    ledger: Ledger, samples: Samples, pods: Collection[str] | None, read: Sequence[Pods]
) -> Found | None:
    """Where the samples of an answer that was just `read` are; None where the next can hardly repeat it."""
    if not _are_counts(np.array(samples.values)):
        return None
    series = ledger.series(samples.series.read())
    place_of = {each: place for place, each in enumerate(series)}
    starts: dict[tuple[str | None, str], dict[Name, int]] = {}
    for place, each in enumerate(series):
        if each.key is START:
            starts.setdefault(each.place, {})[each.name] = place
    targets = []
    for arm, by_pod in zip(ledger.arms, read, strict=True):
        for pod in sorted(by_pod):
            begun = starts.get((arm.value, pod), {}) or starts.get((None, pod), {})
            for name, reading in sorted(by_pod[pod].items(), key=lambda item: sorted(item[0])):
                target = ledger.target(arm, pod, name)
                if target.mixed or target.gone:
                    return None
                where = places([place_of[each] for each in reading.values])
                targets.append((target, where, _start_of(name, reading, begun, samples.values)))
    return Found(samples.series, pods, targets)


def _start_of(name: Name, reading: Reading, begun: Mapping[Name, int], values: Sequence[float]) -> int | None:
    """The sample of a target's start time; it may come from a scrape of its own."""
    told = (place for place in begun.values() if values[place] == reading.started)
    return begun.get(name, next(told, None))


def _are_counts(values: Floats) -> bool:
    """Whether all are: what is none is as good as absent."""
    return bool(np.isfinite(values).all() and (values >= 0).all())


class Away:
    """What a ledger knows of the series of an answer since `time`, kept here in a tenth of the room until it
    is given back."""

    def __init__(self, ledger: Ledger, where: Found, samples: Samples, time: float) -> None:
        self._ledger = ledger
        self.where = where
        self.values: Floats = np.array(samples.values)
        self._time = time
        self._times = 0
        for target, *_ in where.targets:
            target.values = {}
        ledger.let_go()

    @property
    def keys(self) -> list[Key]:
        """What each of the samples counts."""
        return [key_of(labels) for labels in self.where.series.read()]

    def observed(self, values: Floats, time: float) -> None:
        """The same series once more."""
        self.values, self._time, self._times = values, time, self._times + 1

    def give_back(self) -> None:
        """Tell the ledger what was seen here."""
        values, series = self.values.tolist(), self._ledger.series(self.where.series.read())
        for target, own, start in self.where.targets:
            target.values = {series[place]: values[place] for place in own.tolist()}
            target.seen = self._time
            target.times += self._times
            target.started = target.started if start is None else values[start]
        self._ledger.forget(self._time)


class _Sums:
    """Sums of the values at some places, of hardly ever more than one."""

    def __init__(self, of: Sequence[Sequence[int]]) -> None:
        self._places = places([place for each in of for place in each])
        self._sums = places([number for number, each in enumerate(of) for _ in each])
        self._number = len(of)

    def of(self, values: Floats) -> Floats:
        return np.bincount(self._sums, values[self._places], self._number).astype(np.float64, copy=False)


class Repeat:
    """The series of both arms as they were put `away`, and the `parts` that are counted of them."""

    def __init__(self, away: Away, parts: Sequence[Part], ahead: Mapping[Unit, int]) -> None:
        self._away, keys = away, away.keys
        self.units = [part.unit for part in parts]
        self._ahead = np.array([ahead.get(unit, 0) for unit in self.units], dtype=np.int64)
        where = away.where
        self._starts = places([start for *_, start in where.targets if start is not None])
        groups: dict[tuple[int, Key], int] = {}
        series = np.full(len(away.values), -1, dtype=np.int64)
        for place, (_, own, _) in enumerate(where.targets):
            for sample in own.tolist():
                series[sample] = groups.setdefault((place, keys[sample]), len(groups))
        self._counted = places(np.flatnonzero(series >= 0))
        self._group = places(series[self._counted])
        self._groups = len(groups)
        self._lay_out(parts, groups)

    def _lay_out(self, parts: Sequence[Part], groups: Mapping[tuple[int, Key], int]) -> None:
        cells = [(place, each) for place, part in enumerate(parts) for each in part.marked]
        self._events = _Sums([[groups[each] for each in part.events] for part in parts])
        self.unit_of_cell = places([place for place, _ in cells])
        self._marked = _Sums([[groups[each] for each in marked] for _, marked in cells])
        self._rest = np.array([part.rest for part in parts], dtype=np.bool_)[self.unit_of_cell]
        self._lenient = np.array([part.lenient for part in parts], dtype=np.bool_)

    def observe(
        self, samples: Sequence[Sample], pods: Collection[str] | None, time: float, most: int, share: float
    ) -> tuple[Places, Places] | None:
        """Events by unit, and bad ones by cell, since the last observation; None for what is no repetition.

        More events than `most` are no count, nor are ends ahead of them by more than 2 and this share.
        """
        where = self._away.where
        if not isinstance(samples, Samples) or samples.series != where.series or pods != where.pods:
            return None
        values = np.array(samples.values)
        own, before = values[self._counted], self._away.values[self._counted]
        begun, known = values[self._starts], self._away.values[self._starts]
        steady = (own >= before).all() and _are_counts(values)
        if not steady or (np.abs(begun - known) > CLOCK).any():
            return None
        growth = np.bincount(self._group, own - before, self._groups).astype(np.float64, copy=False)
        n, marked = np.rint(self._events.of(growth)), np.rint(self._marked.of(growth))  # beyond integers?
        if (n > most).any():
            return None
        in_all = n[self.unit_of_cell]
        bad = np.where(self._rest, in_all - marked - self._ahead[self.unit_of_cell], marked)
        lacking = np.zeros(len(n))
        lacking[self.unit_of_cell[self._lenient[self.unit_of_cell]]] = bad[self._lenient[self.unit_of_cell]]
        limit = 2 + np.floor(share * n)
        if (-lacking > limit).any():
            return None
        self._ahead = np.minimum(np.maximum(-lacking, 0), limit).astype(np.int64)
        self._away.observed(values, time)
        return n.astype(np.int64), np.clip(bad, 0, in_all).astype(np.int64)

    @property
    def ahead(self) -> dict[Unit, int]:
        """Ends that were counted before the events that they end, by unit."""
        return dict(zip(self.units, self._ahead.tolist(), strict=True))
