"""Raw samples of both arms -> integer counts over identical windows.

What the caller has to do: evaluate `queries.queries` at every tick of a fixed `Grid`, build one Snapshot a
tick, and give them to `counters.Counters`. Where a query failed, skip that tick: the next window then reaches
back to the last good one. Nothing is extrapolated and nothing is invented; what cannot be
counted exactly is left out, on both arms alike.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.labels import Samples
from inference_rollouts.core.judging.ledger import SETTLED, Growth, Ledger, Namesakes, Pods, unseen
from inference_rollouts.core.judging.metrics import SERIES, STARTED, Latency, MetricSet, Rate
from inference_rollouts.core.judging.pod_counts import AHEAD, MOST, Counted, exports, fell_at, of_pod
from inference_rollouts.core.judging.queries import series
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.judging.scatter import Scatter, in_one_window
from inference_rollouts.core.judging.sites import Site, in_words
from inference_rollouts.core.judging.spellings import events_in, is_otherwise
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts, WindowCounts
from inference_rollouts.core.objects.inference_pool import pod_of

if TYPE_CHECKING:
    from inference_rollouts.core.judging.pooled import Pooled
    from inference_rollouts.core.judging.repeat import Away, Repeat

NAMED = 5  # pods that are named where there may be many


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All answers of one observation: the labels and value of every sample, by the query's key."""

    time: float
    samples: Mapping[str, Sequence[Sample]]

    @classmethod
    def of_vectors(cls, time: float, vectors: Mapping[str, Iterable[Mapping[str, Any]]]) -> Snapshot:
        """From instant vectors as Prometheus sends them: `[{"metric": {...}, "value": [time, "1"]}]`."""
        return cls(time, {key: _samples(vector) for key, vector in vectors.items()})


def _samples(vector: Iterable[Mapping[str, Any]]) -> Sequence[Sample]:
    """Those that a reader has made of it already, else as they are sent."""
    read = getattr(vector, "samples", None)
    return read if isinstance(read, Samples) else [(s["metric"], float(s["value"][1])) for s in vector]


@dataclass(frozen=True, slots=True)
class Grid:
    """The times at which a step is counted: `anchor`, `anchor + interval`... (Unix time and seconds).

    Each can be asked for when it is `delay` old.
    """

    anchor: float
    interval: float
    delay: float = 0.0

    def passed(self, now: float) -> int:
        """How many of its ticks can be asked for by `now`."""
        return max(0, math.floor((now - self.delay - self.anchor) / self.interval) + 1)

    def missed(self, done: int, now: float, most: int) -> list[float]:
        """The ticks after the first `done` ones, `most` at most: of the very first what is missing, and then
        thinned evenly, with the newest.

        Counters are cumulative: nothing is lost by leaving some out, the windows are longer. It takes two to
        know which series there are at first, as in `fewest`.
        """
        passed = self.passed(now)
        first = range(done, min(passed, SETTLED))
        begin = done + len(first)
        stride = max(1, math.ceil((passed - begin) / max(1, most - len(first))))
        places = [*first, *range(passed - 1, begin - 1, -stride)[::-1]]
        return [self.anchor + i * self.interval for i in places]

    def fewest(self, done: int, now: float) -> list[float]:
        """After the first `done` ticks the newest, and of the very first what is missing: as few as there may
        be, and yet all is counted.

        It takes two to know which series there are: what begins later, as failures do, counts from 0 then.
        """
        passed = self.passed(now)
        places = {*range(done, min(passed, SETTLED)), *range(max(done, passed - 1), passed)}
        return [self.anchor + i * self.interval for i in sorted(places)]


def uneven(times: Sequence[float]) -> int:
    """How many of rising times are before those that rise evenly to the last."""
    gaps = [later - earlier for earlier, later in pairwise(times)]
    odd = (place for place, gap in enumerate(gaps) if not math.isclose(gap, gaps[-1], rel_tol=0.01))
    return max(odd, default=-1) + 1


class Counter:
    """Counts both arms by one metric set, snapshot after snapshot: windows between the good ones.

    `notes` say what was left out of the last window, and why.
    """

    def __init__(self, metric_set: MetricSet, canary: Arm, stable: Arm) -> None:
        self.metric_set = metric_set
        self.notes: tuple[str, ...] = ()
        self._arms = (canary, stable)
        self._ledger = Ledger(self._arms, metric_set.pod)
        self._since = -math.inf
        self._ahead: dict[tuple[str, str, str], int] = {}
        self._shown: deque[_Shown] = deque(maxlen=SETTLED)
        self._scatters = {m.name: [Scatter() for _ in m.thresholds] for m in metric_set.metrics}
        self._away: Away | None = None
        self._again: _Again | None = None

    @property
    def since(self) -> float:
        """When the last good snapshot was; minus infinity before the first."""
        return self._since

    def observe(self, after: Snapshot, pods: Collection[str] | None = None) -> WindowCounts | None:
        """The counts since the last good snapshot; None for the first, and for one that shows no pod.

        One without pods is as good as none; a baseline without pods is replaced. `pods` are those that the
        cluster has: others in the metrics are foreign, and left out. None: nobody knows.
        """
        samples = _joined(list(after.samples.values()))
        if (again := self._again) and (counts := again.observe(samples, pods, after.time)) is not None:
            self._shown.append(again.shown)
            self.notes, since, self._since = again.notes, self._since, after.time
            return WindowCounts(start=since, end=after.time, counts=counts)
        self._take_back()
        read, shown = self._ledger.read(samples, pods)
        lacking = (each for arm, seen in zip(self._arms, read, strict=True) for each in unseen(arm, seen))
        self._shown.append(_Shown(shown, frozenset(lacking)))
        strangers = sorted(shown.difference(shown if pods is None else pods))
        strange = (_not_counted(strangers),) if strangers else ()
        self.notes = (*strange, *_of_namesakes(self._ledger.namesakes))
        if not any(read):
            return None
        since, self._since = self._since, after.time
        if over := self.metric_set.increase_over:
            since, arms = after.time - over, self._ledger.increases(read)
        else:
            arms = self._ledger.observe(read, after.time, since)
        strangers_alone, counts = self.notes, {} if since == -math.inf else dict(self._counts(arms))
        if not over and isinstance(samples, Samples):
            self._put_away(samples, pods, read, after.time)
            if self.notes == strangers_alone:
                self._again = self._repeated(read, counts)
        return None if since == -math.inf else WindowCounts(start=since, end=after.time, counts=counts)

    def _put_away(
        self, samples: Samples, pods: Collection[str] | None, read: Sequence[Pods], time: float
    ) -> None:
        """What was `read`, as far as it can be, until something else is shown."""
        # Imported on use, since numpy is: who counts nothing starts without it.
        from inference_rollouts.core.judging.repeat import Away, found

        where = found(self._ledger, samples, pods, read)
        self._away = Away(self._ledger, where, samples, time) if where else None

    def _repeated(self, read: Sequence[Pods], counts: Mapping[str, Counts]) -> _Again | None:
        """How to count it once more."""
        from inference_rollouts.core.judging.pooled import Pooled
        from inference_rollouts.core.judging.repeat import Repeat, parts_of

        if not self._away or not counts:
            return None
        repeat = Repeat(self._away, parts_of(self.metric_set, self._arms, read), self._ahead)
        scatters = {name: self._scatters[name] for name in counts}
        values = [arm.value for arm in self._arms]
        pooled = Pooled(values, repeat.units, repeat.unit_of_cell, scatters)
        return _Again(repeat, pooled, self._shown[-1], self.notes)

    def _take_back(self) -> None:
        """All that was put away, since something else is shown."""
        if self._again:
            self._note_ahead(self._again.give_back())
        if self._away:
            self._away.give_back()
        self._again = self._away = None

    def silent(self, pods: Collection[str]) -> list[str]:
        """Which of these, or of their servers, the latest two observations know nothing of."""
        if len(self._shown) < SETTLED:
            return []
        unknown = set(pods).difference(*(each.pods for each in self._shown))
        return sorted(unknown.union(each for each in self._lacking(pods) if not each.endswith(":")))

    def blended(self, pods: Collection[str]) -> list[str]:
        """Of which of these nothing tells the servers apart, of which each has several."""
        return sorted(pod_of(each) for each in self._lacking(pods) if each.endswith(":"))

    def _lacking(self, pods: Collection[str]) -> list[str]:
        """The servers of these that the latest two observations lacked."""
        if len(self._shown) < SETTLED:
            return []
        lacking = frozenset.intersection(*(each.lacking for each in self._shown))
        return [each for each in lacking if pod_of(each) in pods]

    def _counts(self, arms: Sequence[Mapping[str, Sequence[Growth]]]) -> Iterator[tuple[str, Counts]]:
        notes: list[str] = []
        named = [
            [((arm.value, pod), seen[pod]) for pod in sorted(seen)]
            for arm, seen in zip(self._arms, arms, strict=True)
        ]
        for metric in self.metric_set.metrics:
            targets = (growth.values for seen in arms for growths in seen.values() for growth in growths)
            other = is_otherwise(metric, targets)
            pods = [[self._of_pod(metric, pod, growths, other) for pod, growths in arm] for arm in named]
            if several := [each.pod for arm in pods for each in arm if each and each.several]:
                notes.append(_several(metric, several))
            fell = [pod for arm in named for (_, pod), growths in arm if fell_at(metric, growths)]
            if fell:
                known = " without a restart" if self.metric_set.started else ""
                notes.append(f"{metric.label}: counters of {', '.join(dict.fromkeys(fell))} fell{known}")
            if fell or any(exports(metric, each, other) for arm in arms for each in arm.values()):
                canary, stable = ([each for each in arm if each and not fell] for arm in pods)
                cells = len(metric.thresholds)
                yield metric.name, _summed(cells, canary, stable, self._scatters[metric.name])
        self.notes = (*self.notes, *notes)

    def _of_pod(
        self, metric: Rate | Latency, pod: tuple[str, str], growths: Sequence[Growth], otherwise: bool
    ) -> Counted | None:
        """What a pod's servers have counted, each as the first of its targets that can be counted says."""
        key = (*pod, metric.name)
        counted = of_pod(metric, pod[1], growths, self._ahead.get(key, 0), otherwise)
        self._note_ahead({key: counted.ahead if counted else 0})
        return counted

    def _note_ahead(self, ends: Mapping[tuple[str, str, str], int]) -> None:
        """Ends that were counted before the events that they end; hardly ever are there any."""
        self._ahead.update(ends)
        for unit in [unit for unit, n in ends.items() if not n]:
            del self._ahead[unit]


def _joined(answers: Sequence[Sequence[Sample]]) -> Sequence[Sample]:
    if len(answers) == 1:
        return answers[0]
    return [sample for samples in answers for sample in samples]


@dataclass(frozen=True, slots=True)
class _Shown:
    """The pods that an observation showed, and of which servers of theirs it showed nothing."""

    pods: frozenset[str]
    lacking: frozenset[str]


class _Again:
    """What the last observation has shown, which the next one will most likely show again.

    `shown` and `notes` are as they were.
    """

    def __init__(self, repeat: Repeat, pooled: Pooled, shown: _Shown, notes: tuple[str, ...]) -> None:
        self.repeat = repeat
        self._pooled = pooled
        self.shown = shown
        self.notes = notes

    def observe(
        self, samples: Sequence[Sample], pods: Collection[str] | None, time: float
    ) -> dict[str, Counts] | None:
        """The counts of one more window; None where something else is shown."""
        seen = self.repeat.observe(samples, pods, time, MOST, AHEAD)
        return seen and dict(self._pooled.counts(*seen))

    def give_back(self) -> dict[tuple[str, str, str], int]:
        """Tell scatters what was counted here, and the caller what is ahead, by unit."""
        self._pooled.scatters.give_back()
        return self.repeat.ahead


def pods_in(snapshot: Snapshot, label: str, arm: str) -> frozenset[str]:
    """The names (label `label`) of all pods that count for an arm (label `arm`); empty for one without.

    A start time alone counts nothing: pickers are scraped with their pool's labels too.
    """
    samples = (sample for samples in snapshot.samples.values() for sample in samples)
    counting = (labels for labels, _ in samples if arm in labels and labels.get(SERIES) != STARTED)
    return frozenset(labels.get(label, "") for labels in counting)


def only(snapshot: Snapshot, label: str, pods: Collection[str]) -> Snapshot:
    """An answer with the series of these pods alone."""
    samples = {
        key: [each for each in series if each[0].get(label, "") in pods]
        for key, series in snapshot.samples.items()
    }
    return Snapshot(snapshot.time, samples)


def _not_counted(strangers: Sequence[str]) -> str:
    names = shortened([each or "series without a pod" for each in strangers])
    return f"Not counted, as they are not in this cluster's pools: {names}"


def _of_namesakes(seen: Namesakes) -> Iterator[str]:
    """What is said where pods of several clusters have the same names."""
    if seen.others:
        yield f"Not counted, as they are another cluster's: {_named(seen.others)}"
    if seen.untold:
        yield (
            f"Not counted, as the metrics store has several pods of the same name, of which nothing tells "
            f"which is this cluster's: {_named(seen.untold)}"
        )


def _named(sites: Mapping[str, Collection[Site]]) -> str:
    where = in_words(frozenset(site for each in sites.values() for site in each))
    return f"{shortened(sorted(sites))} ({where})"


def shortened(pods: Sequence[str]) -> str:
    """Names of pods, of which there may be very many, in a sentence."""
    more = f" and {len(pods) - NAMED} more" if len(pods) > NAMED else ""
    return f"{', '.join(pods[:NAMED])}{more}"


def servers_unseen(metric_set: MetricSet, arm: Arm, snapshot: Snapshot) -> list[str]:
    """As of `ledger.unseen`, of one answer."""
    samples = [sample for samples in snapshot.samples.values() for sample in samples]
    (pods,), _ = Ledger([arm], metric_set.pod).read(samples)
    return sorted(unseen(arm, pods))


def missing(metric_set: MetricSet, arm: Arm, snapshot: Snapshot) -> list[str]:
    """One phrase for each metric that this arm does not export as the set expects; optional ones may miss."""
    samples = [sample for samples in snapshot.samples.values() for sample in samples]
    ledger = Ledger([arm], metric_set.pod)
    (pods,), _ = ledger.read(samples)
    keys = {each.key for targets in pods.values() for seen in targets.values() for each in seen.values}
    phrases = []
    for metric in metric_set.metrics:
        if metric.optional:
            continue
        other = is_otherwise(metric, [keys])
        if events_in(metric, keys, other) is None:
            phrases.append(f"{metric.label}: {arm.value} exports no {next(iter(series(metric)))[1]}")
        elif isinstance(metric, Latency):
            known = {bound for _, bound in keys}
            if lacking := [threshold for threshold in metric.thresholds if threshold not in known]:
                phrases.append(f"{metric.label}: {arm.value} has no bucket bound at {lacking} s")
    return phrases


def _several(metric: Rate | Latency, pods: Sequence[str]) -> str:
    """What is said where bad ones may hide."""
    return (
        f"{metric.label}: at {shortened(sorted(pods))} more ended well than were asked for: several answers "
        "to one request, or requests by another way. Lost ones may hide behind them"
    )


def _summed(
    cells: int, canary: Sequence[Counted], stable: Sequence[Counted], scatters: Sequence[Scatter]
) -> Counts:
    """Both arms with their pods taken together."""
    tests = [
        (*scatter.add(_at(j, stable)), *in_one_window(_at(j, canary))) for j, scatter in enumerate(scatters)
    ]
    chi2, df, lasting_chi2, lasting_df, canary_chi2, canary_df = zip(*tests, strict=True)
    return Counts(
        canary=_total(cells, canary),
        stable=_total(cells, stable),
        chi2=chi2,
        df=df,
        lasting_chi2=lasting_chi2,
        lasting_df=lasting_df,
        canary_chi2=canary_chi2,
        canary_df=canary_df,
    )


def _at(j: int, pods: Sequence[Counted]) -> dict[str, tuple[int, int]]:
    """Events of each pod, and bad ones at threshold j."""
    return {each.pod: (each.n, each.bad[j]) for each in pods}


def _total(cells: int, pods: Sequence[Counted]) -> ArmCounts:
    bad = tuple(sum(each.bad[j] for each in pods) for j in range(cells))
    return ArmCounts(n=sum(each.n for each in pods), bad=bad, pods=len(pods))
