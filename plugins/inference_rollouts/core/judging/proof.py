"""Proof that the judge will see a canary: its pods are scraped, and what they answer is counted.

Requests that pods answered directly are held against the judge's own counting, pod by pod. What counters
showed when a pod was first seen is no growth: those requests must show that began when the store had said
what growth is counted from. Where a pod has several servers, each at a port, it is proven of each: names are
theirs then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from inference_rollouts.core.judging.arms import TOLD, Arm, server_in
from inference_rollouts.core.judging.counters import named
from inference_rollouts.core.judging.counts import Counter, Snapshot, missing, shortened
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.promql import label_name, quoted_pattern, split_selector
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.objects.inference_pool import pod_of

ENOUGH = 3  # requests that a pod must show: one could be anybody's


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that a pod answered: when it began and ended (`time.monotonic`)."""

    began: float
    ended: float


class Proof(Protocol):
    """What answers of the metrics store show of the pods that export one metric set."""

    def observe(self, seen: Snapshot, heard: float) -> None:
        """Take in an answer with the samples of this set, which had come at `heard` (`time.monotonic`)."""

    @property
    def unproven(self) -> Sequence[str]:
        """The pods of which it is not proven."""

    @property
    def unasked(self) -> Sequence[str]:
        """Those that have answered too little since they can be counted."""

    def doubts(self, labels: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
        """What is not proven, a phrase for each reason; `labels` are what pods have that are scraped."""


class ScrapedPods:
    """Whether the pods appear among a set's series: all that can be known of who sees no direct requests."""

    def __init__(self, metric_set: MetricSet, arm: Arm, pods: Iterable[str]) -> None:
        self._pod = metric_set.pod
        self._arm = arm
        self._unseen = set(pods)

    def observe(self, seen: Snapshot, heard: float) -> None:
        """As of Proof."""
        self._unseen -= _by_pod(seen, self._arm, self._pod).keys()

    @property
    def unproven(self) -> Sequence[str]:
        return sorted(self._unseen)

    @property
    def unasked(self) -> Sequence[str]:
        return ()

    def doubts(self, labels: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
        """As of Proof."""
        return _unseen(self.unproven, self._arm, self._pod, labels)


@dataclass(slots=True)
class _Pod:
    """What is `counted` of a pod since `since`, when what it is counted from had come (None: nothing yet)."""

    counter: Counter
    seen: Snapshot | None = None
    since: float | None = None
    counted: int = 0
    proven: bool = False
    answered: list[Answered] = field(default_factory=list)

    @property
    def due(self) -> list[Answered]:
        """The requests that must show."""
        return [] if self.since is None else [each for each in self.answered if each.began >= self.since]


class CountedPods:
    """Whether the metric that counts requests shows, at each pod, those that it answered.

    All must show that ended `late` seconds before an answer of the store, and ENOUGH at least.
    """

    def __init__(
        self, metric_set: MetricSet, canary: Arm, stable: Arm, pods: Iterable[str], late: float
    ) -> None:
        self._metric_set = metric_set
        self._arm = canary
        self._late = late
        rest = {"metrics": (metric_set[metric_set.errors],), "latency": None, "beside": ()}
        alone = metric_set.model_copy(update=rest)
        self._pods = {pod: _Pod(Counter(alone, canary, stable)) for pod in pods}
        self._heard: dict[float, float] = {}

    def answered(self, pod: str, request: Answered) -> None:
        """A pod has answered. May be called from any thread."""
        self._pods[pod].answered.append(request)

    def observe(self, seen: Snapshot, heard: float) -> None:
        """As of Proof."""
        self._heard[seen.time] = heard
        series = _by_pod(seen, self._arm, self._metric_set.pod)
        for name, pod in self._pods.items():
            if name in series and not pod.proven:
                pod.seen = Snapshot(seen.time, {"": series[name]})
                self._count(pod, pod.seen, heard)

    def _count(self, pod: _Pod, seen: Snapshot, heard: float) -> None:
        window = pod.counter.observe(seen)
        counts = window.counts.get(self._metric_set.errors) if window else None
        if window is None or counts is None or not counts.canary.pods:
            pod.since, pod.counted = None, 0
            return
        if pod.since is None:
            pod.since = self._heard[window.start]
        pod.counted += counts.canary.n
        due = pod.due
        old = sum(each.ended <= heard - self._late for each in due)
        pod.proven = len(due) >= ENOUGH and pod.counted >= max(ENOUGH, old) and not self._lacks(pod)

    @property
    def unproven(self) -> Sequence[str]:
        return [name for name, pod in self._pods.items() if not pod.proven]

    @property
    def unasked(self) -> Sequence[str]:
        return [
            name
            for name, pod in self._pods.items()
            if not pod.proven and pod.since is not None and len(pod.due) < ENOUGH
        ]

    def doubts(self, labels: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
        """As of Proof."""
        unproven = {name: self._pods[name] for name in self.unproven}
        unseen = [name for name, pod in unproven.items() if pod.seen is None]
        yield from _unseen(unseen, self._arm, self._metric_set.pod, labels)
        reasons: dict[str, list[str]] = defaultdict(list)
        for name, pod in unproven.items():
            if pod.seen is not None:
                reasons[self._doubt(pod)].append(name)
        yield from (f"{_pods(names)}: {reason}" for reason, names in reasons.items())

    def _doubt(self, pod: _Pod) -> str:
        metric = self._metric_set[self._metric_set.errors]
        if reasons := [*self._lacks(pod), *pod.counter.notes]:
            return "; ".join(reasons)
        return f"{metric.label} counts {pod.counted} of {len(pod.due)} requests"

    def _lacks(self, pod: _Pod) -> list[str]:
        return missing(self._metric_set, self._arm, pod.seen) if pod.seen else []


def labels_query(metric_set: MetricSet, pods: Iterable[str]) -> str | None:
    """A query of the start times of pods, however they are labelled beside; None where a set has none."""
    if metric_set.started is None:
        return None
    name, matchers = split_selector(metric_set.started)
    those = f"{label_name(metric_set.pod)}=~{quoted_pattern(*pods)}"
    return f"{name}{{{','.join(filter(None, (matchers, those)))}}}"


def _by_pod(seen: Snapshot, arm: Arm, pod: str) -> dict[str, list[Sample]]:
    """An arm's samples by the pod, or the server of several, that exports them.

    A process that several arms share is the arm's as well, whichever of them its series are of.
    """
    series: dict[str, list[Sample]] = defaultdict(list)
    for samples in seen.samples.values():
        for labels, value in named(samples, [arm]):
            if arm.process or labels.get(arm.label) == arm.value:
                series[server_in(labels, arm.ports, pod)].append((labels, value))
    return series


def _unseen(
    pods: Sequence[str], arm: Arm, label: str, labels: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Who is not seen at all: for want of which labels, or of being scraped, or of being told apart."""
    wanted = dict(arm.process) or {arm.label: arm.value}
    wanted |= {"namespace": arm.namespace} if arm.namespace else {}
    reasons: dict[str, list[str]] = defaultdict(list)
    scraped = {pod_of(each) for each in labels}
    for pod in pods:
        known = labels.get(pod)
        lacking = [f"{name}={value}" for name, value in wanted.items() if known and known.get(name) != value]
        with_all = ", ".join(f"{name}={value}" for name, value in wanted.items())
        if lacking:
            reasons[f"scraped without {', '.join(lacking)}"].append(pod)
        elif pod_of(pod) in scraped and pod_of(pod) != pod and not known:
            reasons[f"scraped, but nothing tells these ports, {TOLD}"].append(pod)
        else:
            reasons[f"no series with {with_all} and their names as {label}"].append(pod)
    yield from (f"{_pods(names)}: {reason}" for reason, names in reasons.items())


def _pods(names: Sequence[str]) -> str:
    return f"pod{'' if len(names) == 1 else 's'} {shortened(names)}"
