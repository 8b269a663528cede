"""Raw samples of both arms -> integer counts over identical windows.

What the caller has to do: evaluate `metrics.queries` at every tick of a fixed grid (`ticks`), build one
Snapshot a tick, and call `window` with two of them. Where a query failed, skip that tick: the next window
then reaches back to the last good one. Nothing is extrapolated and nothing is invented; what cannot be
counted exactly is left out, on both arms alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from inference_rollouts.core.judging.metrics import SERIES, STARTED, Arm, Latency, MetricSet, Rate, series
from inference_rollouts.core.values import Value

Sample = tuple[Mapping[str, str], float]
MOST = 10**9  # events of one pod in one window; more is no count but a broken counter
Key = tuple[str, float | None]
"""Tag of a series and, for a bucket, its bound."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All answers of one observation: the labels and value of every sample, by the query's key."""

    time: float
    samples: Mapping[str, Sequence[Sample]]

    @classmethod
    def of_vectors(cls, time: float, vectors: Mapping[str, Iterable[Mapping[str, Any]]]) -> Snapshot:
        """From instant vectors as Prometheus sends them: `[{"metric": {...}, "value": [time, "1"]}]`."""
        return cls(
            time,
            {key: [(s["metric"], float(s["value"][1])) for s in vector] for key, vector in vectors.items()},
        )


class ArmCounts(Value):
    """Events of one arm in one window: `n` in all, `bad[j]` of them bad (slower than threshold j).

    `pods` is how many pods could be counted; 0 means that nothing is known, not that nothing happened.
    """

    n: int
    bad: tuple[int, ...]
    pods: int


class Counts(Value):
    """One metric in one window.

    `chi2` with `df` degrees of freedom is Pearson's test, over all thresholds, that stable's pods are alike.
    """

    canary: ArmCounts
    stable: ArmCounts
    chi2: float
    df: int


class WindowCounts(Value):
    """What happened on both arms between two ticks. A metric that was not exported is absent."""

    start: float
    end: float
    counts: dict[str, Counts]


@dataclass(slots=True)
class _Pod:
    """The readings of one pod at one tick."""

    started: float | None = None
    values: dict[Key, float] = field(default_factory=dict)


def ticks(anchor: float, interval: float, now: float, scrape_delay: float = 0.0) -> list[float]:
    """The grid that can be observed by `now`: anchor, anchor + interval, ..., at most now - scrape_delay."""
    return [anchor + i * interval for i in range(math.floor((now - scrape_delay - anchor) / interval) + 1)]


def window(
    metric_set: MetricSet, canary: Arm, stable: Arm, before: Snapshot, after: Snapshot
) -> WindowCounts | None:
    """The counts between two snapshots; None when `after` shows no pod or `before` shows none to count from.

    None means: keep `before` and try again at the next tick.
    """
    arms = (canary, stable)
    old, new = (_pods(snapshot, arms, metric_set.pod) for snapshot in (before, after))
    if not any(old) or not any(new):
        return None
    counts = {}
    for metric in metric_set.metrics:
        pods = [_grown(metric, o, n, before.time) for o, n in zip(old, new, strict=True)]
        if any(_exported(metric, arm) for arm in new):
            counts[metric.name] = _summed(metric, *pods)
    return WindowCounts(start=before.time, end=after.time, counts=counts)


def windows(
    metric_set: MetricSet, canary: Arm, stable: Arm, snapshots: Iterable[Snapshot | None]
) -> list[WindowCounts]:
    """The windows of a whole grid; None stands for an observation that failed."""
    counted: list[WindowCounts] = []
    before: Snapshot | None = None
    for snapshot in snapshots:
        if snapshot is None:
            continue
        if before is None:
            before = snapshot
        elif grown := window(metric_set, canary, stable, before, snapshot):
            counted.append(grown)
            before = snapshot
    return counted


def missing(metric_set: MetricSet, arm: Arm, snapshot: Snapshot) -> list[str]:
    """One phrase for each metric that this arm does not export as the set expects; optional ones may miss."""
    (pods,) = _pods(snapshot, [arm], metric_set.pod)
    phrases = []
    for metric in metric_set.metrics:
        if metric.optional:
            continue
        if not _exported(metric, pods):
            phrases.append(f"{metric.label}: {arm.value} exports no {next(iter(series(metric)))[1]}")
        elif isinstance(metric, Latency):
            known = {bound for pod in pods.values() for _, bound in pod.values}
            lacking = [threshold for threshold in metric.thresholds if threshold not in known]
            if lacking:
                phrases.append(f"{metric.label}: {arm.value} has no bucket bound at {lacking} s")
    return phrases


def _pods(snapshot: Snapshot, arms: Sequence[Arm], pod_label: str) -> list[dict[str, _Pod]]:
    """The pods of each arm, by name.

    A start time without an arm is that of a process which counts for all of them: where it exports any of
    their series, an arm without series is one that has had no request yet.
    """
    by_arm: dict[str, dict[str, _Pod]] = {arm.value: {} for arm in arms}
    shared: dict[str, float] = {}
    label = arms[0].label
    for labels, value in (sample for samples in snapshot.samples.values() for sample in samples):
        name, tag, le = labels.get(pod_label, ""), labels.get(SERIES, ""), labels.get("le")
        if tag == STARTED and label not in labels:
            shared[name] = value
        pods = by_arm.get(labels.get(label, ""))
        if pods is None or not 0 <= value < math.inf:
            continue
        pod = pods.setdefault(name, _Pod())
        if tag == STARTED:
            pod.started = value
        else:
            pod.values[tag, None if le is None else float(le)] = value
    for name in {name for pods in by_arm.values() for name in pods} & shared.keys():
        for pods in by_arm.values():
            pods.setdefault(name, _Pod()).started = shared[name]
    return [by_arm[arm.value] for arm in arms]


def _exported(metric: Rate | Latency, pods: Mapping[str, _Pod]) -> bool:
    return any(_events(metric, pod) for pod in pods.values())


def _events(metric: Rate | Latency, pod: _Pod) -> Key | None:
    """The series of this pod that counts all events of the metric, in the preferred spelling."""
    part, bound = ("total", None) if isinstance(metric, Rate) else ("le", math.inf)
    spellings = metric.total if isinstance(metric, Rate) else metric.histogram
    keys = ((f"{metric.name}/{part}/{place}", bound) for place in range(len(spellings)))
    return next((key for key in keys if key in pod.values), None)


def _grown(
    metric: Rate | Latency, old: Mapping[str, _Pod], new: Mapping[str, _Pod], since: float
) -> list[ArmCounts]:
    """What each pod counted since `since`, in one order; pods without a known baseline are left out."""
    growths = []
    for name, pod in sorted(new.items(), key=lambda item: item[0]):
        growth = _growth(old.get(name), pod, since)
        events = _events(metric, pod)
        if growth and events and (counts := _pod_counts(metric, pod, events, growth)):
            growths.append(counts)
    return growths


def _growth(old: _Pod | None, new: _Pod, since: float) -> Callable[[Key], int] | None:
    """The increase of each series of a pod, or None when nobody knows where it began.

    A pod that was there before counts from what it showed then, and from 0 where it had no such series yet or
    its process restarted. A pod that was not there counts from 0 only if its process started since then: else
    it may have been away for a scrape, and its past is not this window's.
    """
    if old is None:
        if new.started is None or new.started < since:
            return None
        old = _Pod()
    elif _restarted(old, new):
        old = _Pod()
    base = old.values
    return lambda key: round(new.values.get(key, 0.0) - base.get(key, 0.0))


def _restarted(old: _Pod, new: _Pod) -> bool:
    if old.started is not None and new.started is not None and new.started - old.started > 1:
        return True
    return any(new.values.get(key, value) < value for key, value in old.values.items())


def _pod_counts(
    metric: Rate | Latency, pod: _Pod, events: Key, growth: Callable[[Key], int]
) -> ArmCounts | None:
    """None where nothing credible is exported. Scrapes may tear counters: bad is kept within 0 and all."""
    n = growth(events)
    if n > MOST:
        return None
    if isinstance(metric, Latency):
        keys = [(events[0], threshold) for threshold in metric.thresholds]
        if any(key not in pod.values for key in keys):
            return None
        bad = [n - growth(key) for key in keys]
    else:
        spellings: list[Key] = [(f"{metric.name}/bad/{place}", None) for place in range(len(metric.bad))]
        bad = [growth(next((key for key in spellings if key in pod.values), spellings[0]))]
    bad = [min(max(count, 0), n) for count in bad]
    if metric.direction == "lower-is-worse":
        bad = [n - count for count in bad]
    return ArmCounts(n=n, bad=tuple(bad), pods=1)


def _summed(metric: Rate | Latency, canary: Sequence[ArmCounts], stable: Sequence[ArmCounts]) -> Counts:
    tests = [
        _pearson([(pod.n, pod.bad[j]) for pod in stable if pod.n]) for j in range(len(metric.thresholds))
    ]
    canary_sum, stable_sum = (total(pods, len(metric.thresholds)) for pods in (canary, stable))
    chi2, df = (sum(column) for column in zip(*tests, strict=True))
    return Counts(canary=canary_sum, stable=stable_sum, chi2=chi2, df=int(df))


def total(arms: Sequence[ArmCounts], cells: int) -> ArmCounts:
    """The sum of several counts with `cells` thresholds each."""
    bad = tuple(sum(arm.bad[j] for arm in arms) for j in range(cells))
    return ArmCounts(n=sum(arm.n for arm in arms), bad=bad, pods=sum(arm.pods for arm in arms))


def _pearson(pods: Sequence[tuple[int, int]]) -> tuple[float, int]:
    """Chi-square and its degrees of freedom for equal bad shares; (0, 0) when the counts show nothing."""
    n, bad = sum(n for n, _ in pods), sum(bad for _, bad in pods)
    if len(pods) < 2 or not 0 < bad < n:
        return 0.0, 0
    share = bad / n
    return sum((x - m * share) ** 2 / (m * share * (1 - share)) for m, x in pods), len(pods) - 1
