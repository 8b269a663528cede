"""What both arms did over time, from the counts by which they are judged: lines of charts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from inference_rollouts.core.judging.metrics import Latency, MetricSet
from inference_rollouts.core.judging.rows import quantile
from inference_rollouts.core.judging.window_counts import ArmCounts, Counts, WindowCounts

MOST = 180  # points of a line: beyond that neighbours are taken together
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

Line = list[float | None]
Value = Callable[[WindowCounts, int], float | None]
"""Of one window and arm (0 canary, 1 stable); None: nothing was counted."""


def curves(metric_set: MetricSet, windows: Sequence[WindowCounts]) -> dict[str, Any]:
    """JSON: `times` (Unix seconds, the ends of windows) and, for each of them, the values of both arms.

    `requests` are per second, `failures` and `observed` (the canary's share of the requests) from 0 to 1,
    `latencies` in seconds by metric; `end` of one is its largest threshold, which stands for all above.
    """
    points = merged(windows, MOST)

    def both(value: Value) -> dict[str, Line]:
        return {
            side: [value(window, arm) for window in points] for arm, side in enumerate(("canary", "stable"))
        }

    errors, sent = metric_set.errors, metric_set.sent
    return {
        "times": [window.end for window in points],
        "requests": both(lambda w, arm: _rate(w, errors, arm)),
        "failures": both(lambda w, arm: _share(w, errors, arm)),
        "failures_title": metric_set[errors].label,
        "observed": [_observed(window, sent) for window in points],
        "latencies": [
            {
                "metric": metric.name,
                "title": metric.label,
                "end": metric.thresholds[-1],
                **{
                    name: both(lambda w, arm, m=metric, s=share: _time(w, m, arm, s))  # type: ignore[misc]
                    for name, share in SHARES.items()
                },
            }
            for metric in metric_set.judged
            if isinstance(metric, Latency) and any(metric.name in window.counts for window in points)
        ],
    }


def merged(windows: Sequence[WindowCounts], most: int) -> list[WindowCounts]:
    """At most so many windows: as many neighbours as that takes are counted together."""
    size = -(-len(windows) // most) or 1
    groups = (group for _, group in groupby(enumerate(windows), lambda each: each[0] // size))
    return [_together([window for _, window in group]) for group in groups]


def _together(windows: Sequence[WindowCounts]) -> WindowCounts:
    if len(windows) == 1:
        return windows[0]
    names = dict.fromkeys(name for window in windows for name in window.counts)
    counts = {name: _sum([w.counts[name] for w in windows if name in w.counts]) for name in names}
    return WindowCounts(start=windows[0].start, end=windows[-1].end, counts=counts)


def _sum(counts: Sequence[Counts]) -> Counts:
    canary, stable = (_arm(arms) for arms in ([c.canary for c in counts], [c.stable for c in counts]))
    return replace(counts[-1], canary=canary, stable=stable)


def _arm(arms: Iterable[ArmCounts]) -> ArmCounts:
    each = list(arms)
    bad = tuple(map(sum, zip(*(arm.bad for arm in each), strict=True)))
    return ArmCounts(n=sum(arm.n for arm in each), bad=bad, pods=each[-1].pods)


def _of(window: WindowCounts, metric: str, arm: int) -> ArmCounts | None:
    counts = window.counts.get(metric)
    found = (counts.canary, counts.stable)[arm] if counts else None
    return found if found and found.pods else None


def _rate(window: WindowCounts, metric: str, arm: int) -> float | None:
    counts = _of(window, metric, arm)
    return counts.n / (window.end - window.start) if counts else None


def _share(window: WindowCounts, metric: str, arm: int) -> float | None:
    counts = _of(window, metric, arm)
    return counts.bad[0] / counts.n if counts and counts.n else None


def _time(window: WindowCounts, metric: Latency, arm: int, share: float) -> float | None:
    counts = _of(window, metric.name, arm)
    return quantile(metric.thresholds, counts.n, counts.bad, share) if counts else None


def _observed(window: WindowCounts, metric: str) -> float | None:
    counts = window.counts.get(metric)
    if counts is None or not (total := counts.canary.n + counts.stable.n):
        return None
    return counts.canary.n / total
