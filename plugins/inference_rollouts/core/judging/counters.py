"""Counting by several metric sets at once: each by itself, all in one window."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

from inference_rollouts.core.judging.arms import TOLD, Arm
from inference_rollouts.core.judging.counts import Counter, Snapshot, shortened
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.queries import keyed
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.judging.window_counts import WindowCounts

NEAR = 1e-3  # seconds by which two times of a grid may differ that are the same
MOST_WANTED = 120  # times for which a set is asked at once beside the ticks

Exporter = tuple[str, str]
"""A pod whose metrics count: what it exports (the `exporters` of a metric set), and its name."""


class Counters:
    """Counts both arms by all sets that judge together, snapshot after snapshot.

    What happened before `begun` (Unix seconds) is not counted. `notes` say what was left out of the last
    window, and why.
    """

    def __init__(self, metric_set: MetricSet, canary: Arm, stable: Arm, begun: float = -math.inf) -> None:
        self.notes: tuple[str, ...] = ()
        self._each = [
            _OneSet(key, each, (each.arm_of(canary), each.arm_of(stable)), begun)
            for key, each in keyed(metric_set)
        ]
        self._end = -math.inf

    def observe(self, after: Snapshot, exporters: Collection[Exporter] | None = None) -> WindowCounts | None:
        """The counts of the sets that have been observed before; None when there is none.

        `exporters` are those that the cluster has; None: nobody knows. A set that an answer shows nothing of
        is missing from the window, and its next one reaches back. What is no later than the last one is
        nothing new.
        """
        if after.time <= self._end:
            return None
        windows = [window for each in self._each if (window := each.observe(after, exporters))]
        self.notes = tuple(note for each in self._each for note in each.notes)
        if not windows:
            return None
        start = max(self._end, min(window.start for window in windows))
        self._end = after.time
        counts = {name: counts for window in windows for name, counts in window.counts.items()}
        return WindowCounts(start=start, end=after.time, counts=counts)

    def wanted(self, first: float, until: float) -> dict[str, list[float]]:
        """By the keys of their queries: when else to ask, after `first` and until a time, those sets whose
        store keeps what was counted in a time alone, so that nothing falls between two of these times."""
        found = {each.key: each.wanted(first, until) for each in self._each}
        return {key: times for key, times in found.items() if times}

    def silent(self, exporters: Collection[Exporter]) -> tuple[str, ...]:
        """A sentence for each set whose latest observations know nothing of some of these, or too little."""
        return tuple(sentence for each in self._each for sentence in each.silent(exporters))


class _OneSet:
    """One of the sets, which reads its own answers, knows its own pods, and may be late."""

    def __init__(self, key: str, metric_set: MetricSet, arms: tuple[Arm, Arm], begun: float) -> None:
        self.key = key
        self._metric_set = metric_set
        self._arms = arms
        self._counter = Counter(metric_set, *arms)
        self._begun = begun + metric_set.delay
        self._over = metric_set.increase_over
        self._due = -math.inf  # of one with `increase_over`: the next time at which nothing is counted twice

    @property
    def notes(self) -> tuple[str, ...]:
        return self._counter.notes

    @property
    def name(self) -> str:
        return self._metric_set.name

    def silent(self, exporters: Collection[Exporter]) -> Iterator[str]:
        pods = names_of(self._metric_set, exporters) or ()
        if missing := self._counter.silent(pods):
            yield f"The metrics store has no metrics of {shortened(missing)} for {self.name}."
        if blended := self._counter.blended(pods):
            yield (
                f"The metrics store does not tell the servers of {shortened(blended)} apart for {self.name} "
                f"({TOLD}): those of one port are counted."
            )

    def observe(self, after: Snapshot, exporters: Collection[Exporter] | None) -> WindowCounts | None:
        if self.key not in after.samples or after.time < self._due - NEAR:
            return None
        if after.time <= self._counter.since:  # it was counted, by a clock that was ahead
            return None
        if self._over:
            self._due = after.time + self._over
        own = Snapshot(after.time, {self.key: named(after.samples[self.key], self._arms)})
        window = self._counter.observe(own, names_of(self._metric_set, exporters))
        return window if window and window.start >= self._begun else None

    def wanted(self, first: float, until: float) -> list[float]:
        """As of Counters."""
        if not self._over:
            return []
        if self._due > until + self._over + NEAR:  # by a clock that was ahead
            self._due = -math.inf
        due = max(self._due, first)
        times = (due + place * self._over for place in range(math.floor((until - due) / self._over) + 1))
        return list(times)[-MOST_WANTED:]


def names_of(metric_set: MetricSet, exporters: Collection[Exporter] | None) -> frozenset[str] | None:
    """The names of the pods that export a set; None where nobody knows them, such as those of gateways."""
    return frozenset(name for kind, name in exporters or () if kind == metric_set.exporters) or None


def named(samples: Sequence[Sample], arms: Sequence[Arm]) -> Sequence[Sample]:
    """Samples with the arm's own value of the label, where only a pattern of it was known.

    What was there stays under another name: a pool with several ports has several clusters at a gateway.
    """
    if not any("*" in arm.value for arm in arms):
        return samples
    [label] = {arm.label for arm in arms}
    found = ((labels, labels.get(label, ""), value) for labels, value in samples)
    return [
        (
            {
                **labels,
                label: next((arm.value for arm in arms if arm.has(own)), ""),
                f"exported_{label}": own,
            },
            value,
        )
        for labels, own, value in found
    ]


def last_window(
    metric_set: MetricSet,
    canary: Arm,
    stable: Arm,
    snapshots: Sequence[Snapshot],
    exporters: Collection[Exporter] | None = None,
) -> WindowCounts | None:
    """The counts between the last two of three snapshots or more: the first ones show which series there are.

    `exporters` are those that the cluster has; None: nobody knows. None when one of the two shows no pod.
    """
    counted = windows(metric_set, canary, stable, snapshots, exporters)
    return counted[-1] if counted and counted[-1].end == snapshots[-1].time else None


def windows(
    metric_set: MetricSet,
    canary: Arm,
    stable: Arm,
    snapshots: Iterable[Snapshot | None],
    exporters: Collection[Exporter] | None = None,
) -> list[WindowCounts]:
    """The windows of a whole grid; None stands for an observation that failed."""
    counters = Counters(metric_set, canary, stable)
    seen = (counters.observe(snapshot, exporters) for snapshot in snapshots if snapshot is not None)
    return [counted for counted in seen if counted is not None]
