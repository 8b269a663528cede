"""Where the processes of one pod's name are: series of several clusters in one store may have the same names.

Labels of a place tell clusters apart, and the start time tells processes apart: what two scrape is one
process at two places, what began at different times there are two pods.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

from inference_rollouts.core.judging.arms import Labels

Pairs = frozenset[tuple[str, str]]
Site = Pairs
"""Where something is in a store: its labels of a place."""

CLOCK = 1.0  # seconds by which the start time of one process may differ from scrape to scrape
_CLUSTERS = r"(?:\w+_)?cluster(?:_\w+)?"
STORE = "prometheus"  # of a pair that scrapes one process, or of another cluster: its start alone tells
_LABELS = (_CLUSTERS, "project_id", "location|region|datacenter|dc|site", STORE, "environment|env|tenant")
"""Patterns of the labels of places, those first that tell clusters apart most surely."""


@lru_cache(maxsize=1024)
def rank(label: str) -> int | None:
    """How surely a label tells clusters apart, 0 most so; None for one that says nothing of a place."""
    return next((place for place, each in enumerate(_LABELS) if re.fullmatch(each, label)), None)


def site_of(labels: Iterable[tuple[str, str]], but_for: Collection[str] = ()) -> Site:
    """The labels of a place among these."""
    return frozenset(pair for pair in labels if rank(pair[0]) is not None and pair[0] not in but_for)


def best_of(home: Labels) -> Labels:
    """Those of ours that tell clusters apart most surely."""
    ranks = {name: rank(name) for name, _ in home}
    least = min((each for each in ranks.values() if each is not None), default=None)
    return tuple(pair for pair in home if ranks[pair[0]] == least)


def processes(found: Mapping[Site, Collection[float]]) -> list[frozenset[Site]]:
    """The pods behind one name, each by its sites, of its start times at every one of them: those at several
    sites are one pod where all that is known of the one is known at the other too."""
    known: list[tuple[frozenset[Site], Collection[float]]] = []
    for site, starts in sorted(found.items(), key=lambda item: (-len(item[1]), sorted(item[0]))):
        same = next((each for each in known if _are_among(starts, each[1])), None)
        known = [each for each in known if each is not same]
        known.append((same[0] | {site}, same[1]) if same else (frozenset({site}), starts))
    return [sites for sites, _ in known]


def _are_among(starts: Collection[float], known: Collection[float]) -> bool:
    return bool(starts) and all(any(abs(a - b) <= CLOCK for b in known) for a in starts)


def ours(found: Mapping[Site, Collection[float]], home: Labels) -> frozenset[Site] | None:
    """The sites of our own pod among those of all of its name; None where nothing tells which it is.

    `home`: labels that all series of this cluster have, and others' have not; empty where none are known.
    """
    there = {site: starts for site, starts in found.items() if home and site.issuperset(home)}
    pods = processes(there or found)
    return pods[0] if len(pods) == 1 else None


class OfSite(Protocol):
    """A series that knows the labels of its place."""

    @property
    def site(self) -> Site: ...


S = TypeVar("S", bound=OfSite)


@dataclass(frozen=True, slots=True)
class OneName(Generic[S]):
    """What a store has of one name of a pod: start times by the labels of each, and what is `counted`.

    `of_start`: the labels of a place among those of a start time.
    """

    begun: Mapping[Pairs, float]
    counted: Mapping[S, float]
    of_start: Callable[[Pairs], Site]

    @property
    def sites(self) -> dict[Site, list[float]]:
        """The start times at every site."""
        found: dict[Site, list[float]] = {}
        for name, started in self.begun.items():
            found.setdefault(self.of_start(name), []).append(started)
        for site in set(self._places(found).values()):
            found.setdefault(site, [])
        return found

    def only(self, sites: Collection[Site]) -> OneName[S]:
        """What is at these alone."""
        begun = {name: each for name, each in self.begun.items() if self.of_start(name) in sites}
        places = self._places({self.of_start(name): () for name in self.begun})
        counted = {series: n for series, n in self.counted.items() if places[series.site] in sites}
        return OneName(begun, counted, self.of_start)

    def _places(self, begun: Collection[Site]) -> dict[Site, Site]:
        """For the labels of each series those that tell where it is: what requests are labelled with as well
        is no place of a process, which its start time says, or what all series have."""
        seen = {series.site for series in self.counted}
        if begun:
            return {site: _nearest(site, begun) for site in seen}
        if not seen:
            return {}
        names = set.intersection(*({name for name, _ in site} for site in seen)) - {STORE}
        return {site: frozenset(pair for pair in site if pair[0] in names) for site in seen}


def _nearest(site: Site, begun: Collection[Site]) -> Site:
    """Which of the sites where processes began a series is at; its own where it can be at none."""
    labels = dict(site)
    at = [each for each in begun if all(_is_alike(labels, *pair) for pair in each)]
    return max(at, key=lambda each: (len(each & site), sorted(each)), default=site)


def _is_alike(labels: Mapping[str, str], name: str, value: str) -> bool:
    return name == STORE or labels.get(name, value) == value


def in_words(sites: Iterable[Site]) -> str:
    """Each as people read it."""
    words = (
        ", ".join(f"{name}={value}" for name, value in sorted(site)) for site in sorted(sites, key=sorted)
    )
    return "; ".join(each or "no label of a place" for each in words)
