"""The labels of a raw series: where it is, which target it is of, and what it counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from inference_rollouts.core.judging.labels import Labels
from inference_rollouts.core.judging.metrics import SERIES, STARTED
from inference_rollouts.core.judging.sites import Site

Sample = tuple[Mapping[str, str], float]
Name = frozenset[tuple[str, str]]
"""What names a target: the labels of its start time."""
Key = tuple[str, float | None]
"""Tag of a series and, for a bucket, its bound."""

SCRAPED = frozenset(
    {"job", "instance", "container", "prometheus", "prometheus_replica", "replica", "__replica__"}
)
"""The labels that a store puts on all that it scrapes of a target, or tells as one of two."""
_REPLICA = re.compile(r"(?:\w+_)?replica(?:_\w+)?")
IGNORED = frozenset({SERIES, "__name__"})
START: Key = (STARTED, None)  # what a start time counts: nothing

Place = tuple[str | None, str]
"""The value of the arms' label, and the pod."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What the labels of a series say: where it is, and what it counts there; `site`: those of a place,
    `scraped`: those that name its target where no start time does.

    A ledger has one for the same labels: it is looked up by what it is, which is quicker than by labels.
    """

    place: Place
    key: Key
    labels: Labels
    site: Site
    scraped: Name

    @property
    def name(self) -> Name:
        """All of its labels, among which are those that name its target."""
        return frozenset(pair for pair in self.labels.items() if pair[0] not in IGNORED)


def scraped_of(labels: Iterable[tuple[str, str]]) -> Name:
    """Those of SCRAPED, and by whatever name one of two that scrape the same is called."""
    return frozenset(pair for pair in labels if _is_of_scrape(pair[0]))


@lru_cache(maxsize=1024)
def _is_of_scrape(label: str) -> bool:
    return label in SCRAPED or _REPLICA.fullmatch(label) is not None


def key_of(labels: Mapping[str, str]) -> Key:
    """What a series counts."""
    tag, le = labels.get(SERIES, ""), labels.get("le")
    return START if tag == STARTED else _once(tag, None if le is None else float(le))


@lru_cache(maxsize=4096)
def _once(tag: str, bound: float | None) -> Key:
    """One object for the same key, in however many series it stands."""
    return tag, bound
