"""Does the traffic really split as the weights say?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from inference_rollouts.core.judging.counts import WindowCounts

SLACK = 0.10  # a share may be off by this much: what the Gateway API's conformance tests allow
SIGMAS = 4.5  # or by this many standard deviations of a share counted over few requests


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
        """Whether the observed share may be the declared one."""
        if self.observed is None:
            return False
        sigma = math.sqrt(self.declared * (1 - self.declared) / self.requests)
        off, slack = self.observed - self.declared, max(SLACK, SIGMAS * sigma)
        return self.observed > 0 and off <= slack if self.shared else abs(off) <= slack

    def __str__(self) -> str:
        seen = "no requests" if self.observed is None else f"{self.observed:.1%} of {self.requests} requests"
        most = "at most " if self.shared else ""
        return f"the canary should get {most}{self.declared:.0%} and was seen to get {seen}"


def observed_split(
    windows: Sequence[WindowCounts], metric: str, declared: float, enough: int, *, shared: bool = False
) -> Split:
    """The split over the latest windows that have `enough` requests together, counted by `metric`.

    Of a shared pool all windows count: the canary's share may be so small that few requests show none.
    """
    canary = stable = 0
    for window in reversed(windows):
        if (counts := window.counts.get(metric)) is not None:
            canary += counts.canary.n
            stable += counts.stable.n
        if canary + stable >= enough and not shared:
            break
    total = canary + stable
    return Split(declared, canary / total if total else None, total, shared)
