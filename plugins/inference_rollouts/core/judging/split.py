"""Does the traffic really split as the weights say?

A request goes to the canary by chance, with its share as the probability. So few requests say little, many
say much, and what may be off is in proportion to the share: a canary that gets a third of 5 % is not at 5 %.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.window_counts import WindowCounts

SLACK = 1.25  # odds may be off by this factor: clients that try again, answers that are counted when they end
STRAGGLERS = 0.01  # of all requests: those that were under way when the canary got the rest
CHANCE = 1e-4  # of a complaint about a split that is as declared
WINDOWS = 3600  # that are looked back at most


@dataclass(frozen=True, slots=True)
class Split:
    """The canary's share as declared and as counted over the latest `requests`; None without requests.

    `shared`: stable's requests include some that do not move, so that the canary's share must be smaller.
    """

    declared: float
    observed: float | None
    requests: int
    shared: bool = False

    @property
    def matches(self) -> bool:
        """Whether the observed share may be the declared one, give or take the slack."""
        if self.observed is None:
            return False
        least, most = allowed(self.declared)
        if self.observed > most:
            return not contradicts(self.observed, self.requests, most)
        if self.shared:
            return self.observed > 0
        return self.observed >= least or not contradicts(self.observed, self.requests, least)

    def __str__(self) -> str:
        seen = "no requests" if self.observed is None else f"{self.observed:.1%} of {self.requests} requests"
        most = "at most " if self.shared else ""
        return f"the canary should get {most}{self.declared:.0%} and was seen to get {seen}"


def allowed(share: float) -> tuple[float, float]:
    """The least and the largest share that counts as this one."""
    return min(_by_odds(share, 1 / SLACK), 1 - STRAGGLERS), _by_odds(share, SLACK)


def contradicts(observed: float, requests: int, share: float) -> bool:
    """Whether chance alone hardly ever takes the observed share so far from `share`.

    Chernoff's bound, which holds for any number of requests and any share: that a share of n requests is as
    far off, on that side, has a probability of at most exp(-n KL(observed | share)).
    """
    return requests * _divergence(observed, share) > math.log(2 / CHANCE)


def enough_for(share: float, least: int) -> int:
    """How many requests show that the canary gets half of its share (or stable of its own), but `least`.

    As many as tell twice what a complaint takes, so that chance hides it in three of a hundred cases at most.
    """
    lesser = min(share, 1 - share)
    if lesser == 0:
        return least
    told = _divergence(lesser / 2, allowed(lesser)[0])
    return max(least, math.ceil(2 * math.log(2 / CHANCE) / told))


class Requests(NamedTuple):
    """How many requests canary and stable got between two times (Unix seconds), by the metric counting them.

    A metric that was not exported then is absent.
    """

    start: float
    end: float
    counts: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, window: WindowCounts, metrics: Iterable[str]) -> Requests:
        """Those of a window, by these metrics."""
        found = ((name, window.counts.get(name)) for name in metrics)
        counts = {name: (each.canary.n, each.stable.n) for name, each in found if each}
        return cls(window.start, window.end, counts)


class Latest:
    """The latest windows of a step: as many as are `enough` (requests by metric and arm), at most WINDOWS.

    Those that came before have no say any more, and would fill the memory of who watches many.
    """

    def __init__(
        self, metric_set: MetricSet, enough: Callable[[Mapping[str, tuple[int, int]]], bool]
    ) -> None:
        self._names = [each.errors for each in metric_set.sets]
        self._enough = enough
        self._windows: deque[Requests] = deque()
        self._totals = dict.fromkeys(self._names, (0, 0))

    def add(self, window: WindowCounts) -> None:
        """The next window."""
        self._windows.append(newest := Requests.of(window, self._names))
        self._totals = self._after(newest, 1)
        while len(self._windows) > 1:
            without = self._after(self._windows[0], -1)
            if len(self._windows) <= WINDOWS and not self._enough(without):
                break
            self._windows.popleft()
            self._totals = without

    def _after(self, window: Requests, sign: int) -> dict[str, tuple[int, int]]:
        nothing = (0, 0)
        pairs = ((name, total, window.counts.get(name, nothing)) for name, total in self._totals.items())
        return {name: (c + sign * canary, s + sign * stable) for name, (c, s), (canary, stable) in pairs}

    @property
    def windows(self) -> Sequence[Requests]:
        """In order of time."""
        return self._windows


def observed_split(
    windows: Sequence[Requests], metric: str, declared: float, least: int, *, shared: bool = False
) -> Split:
    """The split over the latest windows that have enough requests together, `least` or more, by `metric`."""
    canary = stable = 0
    enough = enough_for(declared, least)
    for window in reversed(windows):
        if counts := window.counts.get(metric):
            canary += counts[0]
            stable += counts[1]
        if canary + stable >= enough and not shared:
            break
    total = canary + stable
    return Split(declared, canary / total if total else None, total, shared)


def _by_odds(share: float, factor: float) -> float:
    return share * factor / (1 - share + share * factor)


def _divergence(observed: float, share: float) -> float:
    """KL(observed | share) of two yes-or-noes, in nats; infinite where the observed cannot be."""
    parts = ((observed, share), (1 - observed, 1 - share))
    if any(seen > 0 and not expected > 0 for seen, expected in parts):
        return math.inf
    return sum(seen * math.log(seen / expected) for seen, expected in parts if seen > 0)
