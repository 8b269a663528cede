"""Counting the same series again, in arrays: what one observation in many thousands is.

Where the series of an answer are those of the last one, in the same order, where nothing started anew and
nothing fell, all that `ledger` and `counts` would work out about them is known already, and only their values
are new. Anything else is theirs: what was counted here is given back to them first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.labels import LabelSets, Samples
from inference_rollouts.core.judging.ledger import CLOCK, START, Key, Ledger, Name, Pods, Sample, Target
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.spellings import bad_in, events_in

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Unit = tuple[str, str, str]
"""The value of an arm's label, a pod, and a metric."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of one pod is one metric: by places in the growth, all `events` and, by threshold, those that are
    `marked` (None: nothing is). `rest`: the others are the bad ones. `lenient`: ends may come before events.
    """

    unit: Unit
    events: tuple[int, Key]
    marked: tuple[tuple[int, Key] | None, ...]
    rest: bool
    lenient: bool


def parts_of(metric_set: MetricSet, arms: Sequence[Arm], read: Sequence[Pods]) -> list[Part]:
    """What is counted of an answer that was `read`, in the order of metrics, arms, and pods."""
    parts = []
    for metric in metric_set.metrics:
        place = 0
        for arm, by_pod in zip(arms, read, strict=True):
            for pod in sorted(by_pod):
                first = None
                for _, reading in sorted(by_pod[pod].items(), key=lambda item: sorted(item[0])):
                    keys = {series.key for series in reading.values}
                    first = first or _part(metric, (arm.value, pod, metric.name), place, keys)
                    place += 1
                parts += [first] if first else []
    return parts


def _part(metric: Rate | Latency, unit: Unit, target: int, keys: Collection[Key]) -> Part | None:
    """None where a target does not export all of a metric."""
    events = events_in(metric, keys)
    if events is None:
        return None
    if isinstance(metric, Latency):
        bounds = [(events[0], threshold) for threshold in metric.thresholds]
        if not all(bound in keys for bound in bounds):
            return None
        return Part(
            unit, (target, events), tuple((target, bound) for bound in bounds), rest=True, lenient=False
        )
    marks = bad_in(metric, keys)
    worse_lower = metric.direction != "higher-is-worse"
    marked = (target, marks) if marks else None
    return Part(unit, (target, events), (marked,), rest=worse_lower, lenient=worse_lower)


@dataclass(frozen=True, slots=True)
class Found:
    """Where the series of an answer are: targets in order, the samples of each, and that of its start.

    `keys` are what each of the samples counts.
    """

    series: LabelSets
    keys: list[Key]
    pods: Collection[str] | None
    targets: list[tuple[Target, Places, int | None]]


def found(
    ledger: Ledger, samples: Samples, pods: Collection[str] | None, read: Sequence[Pods]
) -> Found | None:
    """Where the samples of an answer that was just `read` are; None where the next can hardly repeat it."""
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
                where = np.array([place_of[each] for each in reading.values], dtype=np.int64)
                targets.append((target, where, begun.get(name)))
    return Found(samples.series, [each.key for each in series], pods, targets)


class Repeat:
    """The series of both arms as they were `found`, and the `parts` that are counted of them."""

    def __init__(
        self,
        ledger: Ledger,
        where: Found,
        parts: Sequence[Part],
        samples: Samples,
        ahead: Mapping[Unit, int],
    ) -> None:
        self._ledger = ledger
        self._where = where
        self._values = values = np.array(samples.values)
        self._steps = 0
        self._time = 0.0
        self.units = [part.unit for part in parts]
        self.ahead = np.array([ahead.get(unit, 0) for unit in self.units], dtype=np.int64)
        starts = [start for *_, start in where.targets if start is not None]
        self._starts = np.array(starts, dtype=np.int64)
        groups: dict[tuple[int, Key], int] = {}
        series = np.full(len(values), -1, dtype=np.int64)
        for place, (_, own, _) in enumerate(where.targets):
            for sample in own.tolist():
                series[sample] = groups.setdefault((place, where.keys[sample]), len(groups))
        self._counted = np.flatnonzero(series >= 0)
        self._group = series[self._counted]
        self._nothing = len(groups)  # the place of what grows by nothing
        self._lay_out(parts, groups)

    def _lay_out(self, parts: Sequence[Part], groups: Mapping[tuple[int, Key], int]) -> None:
        cells = [(place, each) for place, part in enumerate(parts) for each in part.marked]
        self._events = np.array([groups[part.events] for part in parts], dtype=np.int64)
        self.unit_of_cell = np.array([place for place, _ in cells], dtype=np.int64)
        marked = [self._nothing if each is None else groups[each] for _, each in cells]
        self._marked = np.array(marked, dtype=np.int64)
        self._rest = np.array([part.rest for part in parts], dtype=np.bool_)[self.unit_of_cell]
        self._lenient = np.array([part.lenient for part in parts], dtype=np.bool_)

    def observe(
        self, samples: Sequence[Sample], pods: Collection[str] | None, time: float, most: int, share: float
    ) -> tuple[Places, Places] | None:
        """Events by unit, and bad ones by cell, since the last observation; None for what is no repetition.

        More events than `most` are no count, nor are ends ahead of them by more than 2 and this share.
        """
        where = self._where
        if not isinstance(samples, Samples) or samples.series != where.series or pods != where.pods:
            return None
        values = np.array(samples.values)
        own, before = values[self._counted], self._values[self._counted]
        begun, known = values[self._starts], self._values[self._starts]
        steady = (own >= before).all() and np.isfinite(values).all() and (values >= 0).all()
        if not steady or (np.abs(begun - known) > CLOCK).any():
            return None
        growth = np.bincount(self._group, own - before, self._nothing + 1)
        n = np.rint(growth[self._events]).astype(np.int64)
        marked = np.rint(growth[self._marked]).astype(np.int64)
        if (n > most).any():
            return None
        in_all = n[self.unit_of_cell]
        bad = np.where(self._rest, in_all - marked - self.ahead[self.unit_of_cell], marked)
        lacking = np.zeros(len(n), dtype=np.int64)
        lacking[self.unit_of_cell[self._lenient[self.unit_of_cell]]] = bad[self._lenient[self.unit_of_cell]]
        limit = 2 + np.floor(share * n).astype(np.int64)
        if (-lacking > limit).any():
            return None
        self.ahead = np.minimum(np.maximum(-lacking, 0), limit)
        if not self._steps:
            for target, *_ in where.targets:
                target.values = {}  # they are here now, in a tenth of the room
            self._ledger.let_go()
        self._values, self._time, self._steps = values, time, self._steps + 1
        return n, np.clip(bad, 0, in_all)

    def give_back(self) -> Iterator[tuple[Unit, int]]:
        """Tell the ledger what was counted here, and the caller what is ahead, by unit."""
        if self._steps:
            values, series = self._values.tolist(), self._ledger.series(self._where.series.read())
            for target, own, start in self._where.targets:
                target.values = {series[place]: values[place] for place in own.tolist()}
                target.seen = self._time
                target.times += self._steps
                target.started = target.started if start is None else values[start]
            self._ledger.forget(self._time)
            yield from zip(self.units, self.ahead.tolist(), strict=True)
        self._steps = 0
