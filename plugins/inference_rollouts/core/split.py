"""Does the traffic really split as the weights say?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .counts import WindowCounts

SLACK = 0.10  # a share may be off by this much: what the Gateway API's conformance tests allow
SIGMAS = 4.5  # or by this many standard deviations of a share counted over few requests


@dataclass(frozen=True, slots=True)
class Split:
    """The canary's share as declared and as counted over the latest `requests`; None without requests."""

    declared: float
    observed: float | None
    requests: int

    @property
    def matches(self) -> bool:
        """Whether the observed share may be the declared one."""
        if self.observed is None:
            return False
        sigma = math.sqrt(self.declared * (1 - self.declared) / self.requests)
        return abs(self.observed - self.declared) <= max(SLACK, SIGMAS * sigma)

    def __str__(self) -> str:
        seen = "no requests" if self.observed is None else f"{self.observed:.1%} of {self.requests} requests"
        return f"the canary should get {self.declared:.0%} and was seen to get {seen}"


def observed_split(windows: Sequence[WindowCounts], metric: str, declared: float, enough: int) -> Split:
    """The split over the latest windows that hold `enough` requests together, counted by `metric`."""
    canary = stable = 0
    for window in reversed(windows):
        if (counts := window.counts.get(metric)) is not None:
            canary += counts.canary.n
            stable += counts.stable.n
        if canary + stable >= enough:
            break
    total = canary + stable
    return Split(declared, canary / total if total else None, total)
