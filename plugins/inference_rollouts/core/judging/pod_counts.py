"""What the servers of one pod counted in one window, by metric."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from inference_rollouts.core.judging.ledger import Growth
from inference_rollouts.core.judging.metrics import Latency, Rate
from inference_rollouts.core.judging.raw_series import Key
from inference_rollouts.core.judging.spellings import bad_in, events_in

MOST = 10**9  # events of one server in one window; more is no count but a broken counter
AHEAD = 0.05  # of a window's events: those between two counters of one server when it is scraped


class Counted(NamedTuple):
    """What a pod counted: events, and bad ones by threshold.

    `ahead`: good ends, of a metric that is worse when lower, that were counted before the events that they
    end. `several`: far too many of them, so that some events have several ends.
    """

    pod: str
    n: int
    bad: Sequence[int]
    ahead: int = 0
    several: bool = False


def of_pod(
    metric: Rate | Latency, pod: str, growths: Sequence[Growth], ahead: int, otherwise: bool
) -> Counted | None:
    """What a pod's servers have counted, each as the first of its targets that can be counted says.

    None where nothing credible is exported. `ahead`: ends that were counted before.
    """
    firsts = [_first(metric, each, otherwise) for each in _by_server(growths)]
    growth = _together([each for each in firsts if each])
    return _counted(metric, pod, growth, ahead, otherwise) if growth else None


def exports(metric: Rate | Latency, growths: Sequence[Growth], otherwise: bool) -> bool:
    return any(events_in(metric, growth.values, otherwise) for growth in growths)


def fell_at(metric: Rate | Latency, growths: Sequence[Growth]) -> bool:
    """Whether no target of one of a pod's servers could be counted because counters fell."""
    return any(all(_has(metric, growth.fell) for growth in each) for each in _by_server(growths))


def _by_server(growths: Sequence[Growth]) -> list[list[Growth]]:
    """The targets of a pod, by the server that they scrape."""
    servers: dict[str, list[Growth]] = {}
    for growth in growths:
        servers.setdefault(growth.server, []).append(growth)
    return list(servers.values())


def _together(growths: Sequence[Growth]) -> Growth | None:
    """What several servers have counted; None of none."""
    if len(growths) < 2:
        return next(iter(growths), None)
    totals: dict[Key, float] = {}
    for growth in growths:
        for key, value in growth.values.items():
            totals[key] = totals.get(key, 0.0) + value
    return Growth(totals)


def _first(metric: Rate | Latency, targets: Sequence[Growth], otherwise: bool) -> Growth | None:
    """That of the first target which exports all of a metric, in credible numbers."""
    return next((each for each in targets if _is_credible(metric, each, otherwise)), None)


def _is_credible(metric: Rate | Latency, growth: Growth, otherwise: bool) -> bool:
    events = events_in(metric, growth.values, otherwise)
    if events is None or _has(metric, growth.broken) or _has(metric, growth.fell):
        return False
    bounds = metric.thresholds if isinstance(metric, Latency) else ()
    return round(growth.values[events]) <= MOST and all(
        (events[0], bound) in growth.values for bound in bounds
    )


def _has(metric: Rate | Latency, tags: Collection[str]) -> bool:
    return bool(tags) and any(tag.startswith(f"{metric.name}/") for tag in tags)


def _counted(metric: Rate | Latency, pod: str, growth: Growth, ahead: int, otherwise: bool) -> Counted | None:
    """What credible growth says. Scrapes may tear counters: bad is kept within 0 and all."""
    events = events_in(metric, growth.values, otherwise)
    if events is None:
        return None
    n = round(growth.values[events])
    if isinstance(metric, Latency):
        good = [growth.values[events[0], threshold] for threshold in metric.thresholds]
        return Counted(pod, n, [_within(n, n - round(each)) for each in good])
    marks = bad_in(metric, growth.values)
    marked = round(growth.values[marks]) if marks else 0
    if metric.direction == "higher-is-worse":
        return Counted(pod, n, [_within(n, marked)])
    # A server counts the good end of a request just before the request: what is ahead at one scrape is what
    # the next window seems to lack.
    missing, most = n - marked - ahead, 2 + math.floor(AHEAD * n)
    return Counted(pod, n, [_within(n, missing)], min(max(-missing, 0), most), several=-missing > most)


def _within(n: int, bad: int) -> int:
    return min(max(bad, 0), n)
