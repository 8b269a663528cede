"""What would change a verdict: the judge's own rules, asked about a window that has not happened."""

from __future__ import annotations

import math

from msgspec.structs import replace

from inference_rollouts.core.judging.running import log_total
from inference_rollouts.core.judging.sums import Sums, absorb, evidence_of
from inference_rollouts.core.judging.window_counts import WindowCounts

MOST = 4096  # failed requests of one window beyond which nobody asks


def log_evidence_of(sums: Sums) -> float:
    """The log of all evidence that the canary is worse."""
    return float(log_total(evidence_of(sums).log_e, sums.rules))


def failures_to_alarm(sums: Sums) -> int | None:
    """How many more failed requests of the canary, in one window that is otherwise as the last, would alarm.

    None where nothing was counted yet, or where more than MOST would be needed.
    """
    alarm, last = -math.log(sums.rules.policy.alpha), sums.last
    if last is None or sums.rules.metric_set.errors not in last.counts:
        return None

    def alarms(failed: int) -> bool:
        return log_evidence_of(absorb(sums, _with_failures(sums, last, failed))) >= alarm

    low, high = 0, 1
    while not alarms(high):
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if alarms(middle) else (middle, high)
    return high


def _with_failures(sums: Sums, last: WindowCounts, failed: int) -> WindowCounts:
    """A window like the last one, right after it, in which more requests of the canary failed."""
    name = sums.rules.metric_set.errors
    counts = last.counts[name]
    canary = replace(counts.canary, n=counts.canary.n + failed, bad=(counts.canary.bad[0] + failed,))
    worse = replace(counts, canary=canary)
    length = last.end - last.start
    return WindowCounts(start=last.end, end=last.end + length, counts={**last.counts, name: worse})
