"""What every raw series has shown so far: how much each pod has counted since the last good observation.

Growth and resets belong to a *raw* series, with all its labels. Summed first, two targets that scrape one
pod, or worker processes that each count for themselves, look like restarts, and a restart looks like a storm.

- A server that several targets scrape is counted by one of them. The series of a target carry all labels of
  its start time; where there is none, those that the store puts on all that it scrapes there. One start
  time is not of what another target, or another of a pair of stores, has scraped.
- A pod that has a server at each of several ports has a target or more for each, by whose labels they are
  told apart. What tells no port, beside those that do, is one of them once more, as of a sidecar.
- A counter falls only when its process has started anew since it was last seen. A fall without that is no
  restart, and nothing is counted of that metric there.
- A series that was there and is missing leaves its metric uncounted at that pod, and so does one that comes
  back: its past is not this window's. One that was missing in two observations or more was never there, and
  begins at 0 as counters do.
- Where no start time says that a process has gone on, as of Envoy, a missing series may never come back:
  after a restart there is none of errors before the first. So only the window in which it went is uncounted.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.labels import Labels
from inference_rollouts.core.judging.raw_series import (
    START,
    Key,
    Name,
    Place,
    Sample,
    Series,
    key_of,
    scraped_of,
)
from inference_rollouts.core.judging.sites import CLOCK, OneName, Site, best_of, ours, processes, site_of

FORGOTTEN = 3600.0  # seconds after which a target that went is as if it had never been
SETTLED = 2  # observations of a target after which a series that none of them showed is a new one
LATE = 60.0  # seconds that the scrape before a window's begin may be older than it: a restart may lie there


@dataclass(frozen=True, slots=True)
class Growth:
    """What one target of a pod counted in one window, by tag and bound.

    `broken` are the tags of which nothing is known, `fell` those that fell without a restart. `server`: the
    port of its server, where its pod has several.
    """

    values: Mapping[Key, float]
    broken: frozenset[str] = frozenset()
    fell: frozenset[str] = frozenset()
    server: str = ""


@dataclass(slots=True)
class Target:
    """One target of one pod, as it was last `seen`: the values of then, and of series that had `gone`.

    `mixed`: several processes answer there by turns. `times`: how often it was seen in this life.
    """

    seen: float = -math.inf
    started: float | None = None
    mixed: bool = False
    times: int = 0
    values: Mapping[Series, float] = field(default_factory=dict)
    gone: dict[Series, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """One target of one pod in one answer."""

    started: float | None
    values: Mapping[Series, float]


Pods = dict[str, dict[Name, Reading]]
"""The targets of each pod of an arm."""


@dataclass(slots=True)
class Namesakes:
    """Pods of the names of ours that an answer showed, with their sites: `others` are not counted; of those
    that are `untold` nobody knows which is ours, so that none is."""

    others: dict[str, frozenset[Site]] = field(default_factory=dict)
    untold: dict[str, frozenset[Site]] = field(default_factory=dict)


class Ledger:
    """The series of both arms, observation after observation; `namesakes` as the last answer had them."""

    def __init__(self, arms: Sequence[Arm], pod_label: str) -> None:
        self.arms = arms
        self.namesakes = Namesakes()
        self._pod = pod_label
        self._arm_labels = frozenset({arms[0].label, f"exported_{arms[0].label}"})
        self._names: dict[Name, Name] = {}
        self._series: dict[Labels, Series] = {}
        self._places: dict[Place, Place] = {}
        self._targets: dict[tuple[str, str, Name], Target] = {}

    def observe(self, read: Sequence[Pods], time: float, since: float) -> list[dict[str, list[Growth]]]:
        """By arm and pod: what each of its targets shows since the observation at `since`.

        From now on what was `read` is the baseline.
        """
        grown: list[dict[str, list[Growth]]] = []
        for arm, pods in zip(self.arms, read, strict=True):
            by_pod = {
                pod: [
                    self._grow(arm, pod, name, reading, time, since)
                    for name, reading in sorted(targets.items(), key=lambda item: sorted(item[0]))
                ]
                for pod, targets in sorted(pods.items())
            }
            grown.append(by_pod)
        self.forget(time)
        return grown

    def increases(self, read: Sequence[Pods]) -> list[dict[str, list[Growth]]]:
        """By arm and pod, of values that are no counters but what was counted: they are the growth."""
        return [
            {
                pod: [
                    Growth(_totals(each.values), server=arm.server_of(name)) for name, each in targets.items()
                ]
                for pod, targets in pods.items()
            }
            for arm, pods in zip(self.arms, read, strict=True)
        ]

    def series(self, labels: Sequence[Labels]) -> list[Series]:
        """Each by its labels."""
        return [self._series.get(each) or self._learn(each) for each in labels]

    def let_go(self) -> None:
        """Forget the series of which no target has a value: shown again, they are learnt anew."""
        held = {each for target in self._targets.values() for each in (*target.values, *target.gone)}
        self._series = {labels: each for labels, each in self._series.items() if each in held}

    def target(self, arm: Arm, pod: str, name: Name) -> Target:
        """A target that has been observed."""
        return self._targets[arm.value, pod, name]

    def forget(self, time: float) -> None:
        """What went long before `time` is as if it had never been."""
        forgotten = [name for name, each in self._targets.items() if time - each.seen > FORGOTTEN]
        for name in forgotten:
            del self._targets[name]
        if forgotten:
            places = {(arm, pod) for arm, pod, _ in self._targets}
            self._series = {labels: each for labels, each in self._series.items() if each.place in places}
            self._places = {each: each for each in self._places if each in places}

    def read(
        self, samples: Sequence[Sample], known: Collection[str] | None = None
    ) -> tuple[list[Pods], frozenset[str]]:
        """By arm, pod and target: what an answer holds of pods that are `known` (None: of all that it shows);
        and which pods it shows. Values that count nothing are as good as absent.

        A start time without an arm is that of a process which counts for all of them: where it exports any
        of their series, an arm without series is one that has had no request yet.

        Where nobody knows the pods, and some are surely at home, those that surely are not are left out.
        """
        self.namesakes = Namesakes()
        starts: dict[Place, dict[Name, float]] = {}
        values: dict[Place, dict[Series, float]] = {}
        for labels, value in samples:
            if not 0 <= value < math.inf:
                continue
            named = labels if type(labels) is Labels else Labels(labels)
            series = self._series.get(named) or self._learn(named)
            if series.key is START:
                starts.setdefault(series.place, {})[series.name] = value
            elif series.place in values:
                values[series.place][series] = value
            else:
                values[series.place] = {series: value}
        shown = frozenset(pod for arm, pod in values if arm is not None)
        if known is not None:
            starts = {place: each for place, each in starts.items() if place[1] in known}
            values = {place: each for place, each in values.items() if place[1] in known}
        else:
            values = self._near(values)
        counting = {pod for arm, pod in values}
        return [dict(self._pods(arm, starts, values, counting)) for arm in self.arms], shown

    def _near(self, values: dict[Place, dict[Series, float]]) -> dict[Place, dict[Series, float]]:
        """Without what is of another cluster, where some is of ours: as of gateways."""
        best = best_of(self.arms[0].home)
        sites = {series.site for each in values.values() for series in each} if best else ()
        if not any(site.issuperset(best) for site in sites):
            return values
        away = {site for site in sites if any(dict(site).get(name, value) != value for name, value in best)}
        near = {place: _but_for(each, away) for place, each in values.items()}
        return {place: each for place, each in near.items() if each}

    def _learn(self, labels: Labels) -> Series:
        where = labels.get(self.arms[0].label), labels.get(self._pod, "")
        site = site_of(labels.items(), self._arm_labels)
        place, scraped = self._places.setdefault(where, where), scraped_of(labels.items())
        site, scraped = (self._names.setdefault(each, each) for each in (site, scraped))
        learnt = Series(place, key_of(labels), labels, site, scraped)
        return self._series.setdefault(labels, learnt)

    def _pods(
        self,
        arm: Arm,
        starts: Mapping[Place, Mapping[Name, float]],
        values: Mapping[Place, Mapping[Series, float]],
        counting: Collection[str],
    ) -> Iterator[tuple[str, dict[Name, Reading]]]:
        alone = {pod for value, pod in (*starts, *values) if value == arm.value}
        shared = {pod for value, pod in starts if value is None and pod in counting}
        for pod in alone | shared:
            begun = starts.get((arm.value, pod), {}) or starts.get((None, pod), {})
            counted = values.get((arm.value, pod), {})
            own = self._own(arm, pod, OneName(begun, counted, self._site_of_start))
            if own is not None:
                begun, counted = own.begun, own.counted
                yield pod, self._by_server(arm, begun, counted) if arm.ports else self._split(begun, counted)

    def _site_of_start(self, name: Name) -> Site:
        return site_of(name, self._arm_labels)

    def _own(self, arm: Arm, pod: str, named: OneName[Series]) -> OneName[Series] | None:
        """What of all that is `named` so is of our pod; None where nothing tells."""
        sites = named.sites
        if len(sites) < 2:
            return named
        own = ours(sites, arm.home)
        if own is None:
            self.namesakes.untold[pod] = frozenset(sites)
            return None
        if len(processes(sites)) > 1:
            self.namesakes.others[pod] = frozenset(sites) - own
        return named.only(own)

    def _by_server(
        self, arm: Arm, starts: Mapping[Name, float], values: Mapping[Series, float]
    ) -> dict[Name, Reading]:
        """The targets of each of a pod's servers; where nothing tells one, those of the pod."""
        begun: dict[str, dict[Name, float]] = {}
        for name, started in starts.items():
            begun.setdefault(arm.server_of(name), {})[name] = started
        counted: dict[str, dict[Series, float]] = {}
        for series, value in values.items():
            counted.setdefault(arm.server_of(series.labels.items()), {})[series] = value
        servers = {*begun, *counted}
        return {
            name: reading
            for server in sorted(servers - {""} or servers)
            for name, reading in self._split(begun.get(server, {}), counted.get(server, {})).items()
        }

    def _split(self, starts: Mapping[Name, float], values: Mapping[Series, float]) -> dict[Name, Reading]:
        """The series of one pod by the target whose labels they carry; what carries no one's is its own.

        Where there are no start times, or too few, targets are told apart by what the store says of them.
        """
        scrapes = {start: scraped_of(start) for start in starts}
        by_target: dict[Name, dict[Series, float]] = {target: {} for target in starts}
        for series, value in values.items():
            by_target.setdefault(_target(scrapes, series), {})[series] = value
        if len(starts) == 1 and values.keys() and not by_target[lone := next(iter(starts))]:
            del by_target[lone]  # it is told by a scrape of its own, for all of them
            return {target: Reading(starts[lone], each) for target, each in by_target.items()}
        return {target: Reading(starts.get(target), each) for target, each in by_target.items()}

    def _grow(self, arm: Arm, pod: str, name: Name, now: Reading, time: float, since: float) -> Growth:
        """What a target counted since `since`."""
        known = self._targets.setdefault((arm.value, pod, name), Target())
        growth = self._growth(known, now, since)
        growth = replace(growth, server=arm.server_of(name)) if arm.ports else growth
        if moved := _moved(known.started, now.started):
            known.values, known.gone, known.times = {}, {}, 0
            known.mixed = known.mixed or moved < 0
        if known.gone or known.values.keys() != now.values.keys():
            before = {**known.gone, **known.values}
            known.gone = {series: value for series, value in before.items() if series not in now.values}
        known.times += 1
        known.seen, known.started = time, known.started if now.started is None else now.started
        known.values = now.values
        return growth

    def _growth(self, known: Target, now: Reading, since: float) -> Growth:
        """What a target that is `known` as it was before has counted since `since`."""
        there, moved = known.seen == since, _moved(known.started, now.started)
        if moved < 0 or known.mixed:
            return self._unknown(now, fell=True)
        if (moved or known.seen == -math.inf) and _began(now, since, there=there):
            return Growth(_totals(now.values))
        if moved or not there:
            return self._unknown(now, fell=False)
        return self._compared(known, now)

    def _unknown(self, now: Reading, *, fell: bool) -> Growth:
        """Nobody knows where it began."""
        totals = _totals(now.values)
        tags = frozenset(tag for tag, _ in totals)
        return Growth(totals, tags, tags if fell else frozenset())

    def _compared(self, known: Target, now: Reading) -> Growth:
        """The growth of a process that has gone on."""
        totals: dict[Key, float] = {}
        missed = known.values if known.started is None else (*known.values, *known.gone)
        broken = {series for series in missed if series not in now.values}
        fell: set[Series] = set()
        new = known.times < SETTLED
        for series, value in now.values.items():
            before = known.values.get(series)
            if before is None:
                before = known.gone.get(series, 0.0)
                if new or series in known.gone:
                    broken.add(series)
            if value < before:
                fell.add(series)
            totals[series.key] = totals.get(series.key, 0.0) + value - before
        return Growth(totals, _tags(broken), _tags(fell))


def unseen(arm: Arm, pods: Pods) -> Iterator[str]:
    """Of pods with several servers the name of each one that is not there; `pod:` where nothing tells any."""
    for pod, targets in pods.items() if arm.ports else ():
        there = {arm.server_of(name) for name in targets}
        lacking = [port[0] for port in arm.ports if port[0] not in there] if there != {""} else [""]
        yield from (f"{pod}:{port}" for port in lacking)


def _target(scrapes: Mapping[Name, Name], series: Series) -> Name:
    """Which of those with start times a series is of, whose labels it carries; or the only one that it may be
    of, as far as scrapes are told apart."""
    if len(scrapes) > 1 and (carried := next((each for each in scrapes if each <= series.name), None)):
        return carried
    labels = dict(series.scraped)
    alike = [
        start
        for start, scrape in scrapes.items()
        if all(labels.get(name, value) == value for name, value in scrape)
    ]
    return alike[0] if len(alike) == 1 else series.scraped


def _but_for(values: Mapping[Series, float], sites: Collection[Site]) -> dict[Series, float]:
    return {series: value for series, value in values.items() if series.site not in sites}


def _totals(values: Mapping[Series, float]) -> dict[Key, float]:
    totals: dict[Key, float] = {}
    for series, value in values.items():
        totals[series.key] = totals.get(series.key, 0.0) + value
    return totals


def _tags(series: Collection[Series]) -> frozenset[str]:
    return frozenset(each.key[0] for each in series)


def _moved(before: float | None, now: float | None) -> int:
    """Whether a process started anew (1). One that started earlier than it had (-1) is another beside it."""
    if before is None or now is None or abs(now - before) <= CLOCK:
        return 0
    return 1 if now > before else -1


def _began(now: Reading, since: float, *, there: bool) -> bool:
    """Whether the process began after the last scrape before `since`, if there was one."""
    return now.started is not None and now.started >= since - LATE * there
