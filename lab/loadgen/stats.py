"""Running counts of outcomes and latencies: since the start, and over the last seconds by pool."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from lab.loadgen.record import Record

WINDOW = 10.0
KEPT = 60.0
DISTURBING = 0.05
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
UNKNOWN_POOL = "unknown"


class Stats:
    """Takes records in as requests end; `now` is always given, in the clock of `add`."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self._recent: deque[tuple[float, Record]] = deque()

    def add(self, record: Record, now: float) -> None:
        """Count a request that ended now."""
        self.outcomes[record.outcome] += 1
        self._recent.append((now, record))
        while self._recent and self._recent[0][0] < now - KEPT:
            self._recent.popleft()

    def totals(self) -> dict[str, Any]:
        """Requests that ended since the start, by outcome."""
        return {"ended": self.outcomes.total(), "outcomes": dict(self.outcomes)}

    def window(self, now: float, seconds: float = WINDOW) -> dict[str, Any]:
        """Rates and latency quantiles of requests that ended in the last `seconds`, with `pools`."""
        records = [record for ended, record in self._recent if ended > now - seconds]
        pools: dict[str, list[Record]] = {}
        for record in records:
            pools.setdefault(record.pool or UNKNOWN_POOL, []).append(record)
        summary = _summary(records, seconds)
        return {**summary, "pools": {name: _summary(part, seconds) for name, part in sorted(pools.items())}}

    def own_delays(self, now: float, lags: Sequence[float], seconds: float = WINDOW) -> dict[str, Any]:
        """How late the generator itself was: sending, and in its event loop (`lags`); the latencies of
        `disturbed` requests may be its own fault.
        """
        records = [record for ended, record in self._recent if ended > now - seconds]
        return {
            "lateness": quantiles([record.late for record in records]),
            "loop_lag": quantiles(lags),
            "disturbed": sum(max(record.late, record.lag) > DISTURBING for record in records),
        }


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95, p99 and the maximum, in seconds; None without values."""
    ordered = sorted(values)
    named = {name: _nearest(ordered, q) for name, q in QUANTILES.items()}
    return {**named, "max": ordered[-1] if ordered else None}


def _nearest(ordered: Sequence[float], quantile: float) -> float | None:
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)] if ordered else None


def _summary(records: Sequence[Record], seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "rate": len(records) / seconds,
        "outcomes": dict(Counter(record.outcome for record in records)),
        "ttft": quantiles(_known(record.ttft for record in records)),
        "inter_token": quantiles(_known(record.inter_token for record in records)),
        "e2e": quantiles([record.e2e for record in records if record.outcome == "ok"]),
    }


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
