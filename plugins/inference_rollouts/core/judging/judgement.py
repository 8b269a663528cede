"""What a judge says: one of five verdicts, why, and the figures behind it."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Literal

from inference_rollouts.core.judging.carried import Carried
from inference_rollouts.core.values import Finite, Plain, Value

YEAR = 365 * 86400.0
UNITS = ((259200.0, 86400.0, "days"), (10800.0, 3600.0, "h"), (300.0, 60.0, "min"), (-math.inf, 1.0, "s"))
"""From how many seconds on a time is said in units of so many."""


class Verdict(StrEnum):
    """In the order of severity: when several apply, the last one wins."""

    ADVANCE = "advance"
    """The step is good: go on."""
    INCONCLUSIVE = "inconclusive"
    """Not enough time, traffic or evidence yet: observe again."""
    NO_DATA = "no data"
    """The counts are missing, so nothing is known: observe again."""
    ASK = "ask"
    """The deadline has passed, or going back would harm: a person decides."""
    ROLLBACK = "rollback"
    """The canary is worse, or the progress deadline has passed: restore the traffic."""

    @property
    def severity(self) -> int:
        return list(Verdict).index(self)

    @property
    def final(self) -> bool:
        """Whether observing is over."""
        return self not in (Verdict.INCONCLUSIVE, Verdict.NO_DATA)


class ArmShare(Plain, frozen=True):
    """Bad events of one arm in this step; `share` is None without events."""

    n: int
    bad: int
    share: Finite | None


class Row(Plain, frozen=True):
    """One judged metric. For a latency, `bad` means slower than `threshold`, the one that speaks the loudest.

    `evidence` is E against the canary over the whole rollout (1 at the start); alone it would raise the alarm
    at `alarm_at` (None: shown, not judged). `goodness` is the evidence that the canary is good enough, of
    which promotion asks `needed` (None where it does not ask). `kappa` is the discount in force.
    """

    metric: str
    title: str
    threshold: Finite | None
    canary: ArmShare
    stable: ArmShare
    evidence: Finite
    alarm_at: Finite | None
    goodness: Finite | None
    needed: Finite | None
    kappa: Finite


class Totals(Plain, frozen=True):
    """One arm for people: requests/s, share of failed requests, 95th percentile of the latency shown (s).

    None where nothing was counted. A percentile beyond the largest threshold is given as that threshold.
    """

    requests: int
    rate: Finite | None
    errors: Finite | None
    latency_p95: Finite | None


class Judgement(Value):
    """The outcome of one observation.

    `evidence` of all metrics together alarms at `alarm_at`; `progress`, 0 to 1, is the bake time done.
    `canary` and `stable` are totals of the step, the `recent` ones of the last window. `carried` is what the
    next step's judge gets; None before a step has ended, since it is large.
    """

    verdict: Verdict
    reason: str
    blame: str | None
    step: int
    weight: int
    time: float
    progress: float
    windows_end: float | None
    evidence: float
    alarm_at: float
    rows: tuple[Row, ...]
    canary: Totals
    stable: Totals
    recent_canary: Totals | None
    recent_stable: Totals | None
    warnings: tuple[str, ...]
    carried: Carried | None = None

    @property
    def handed_on(self) -> Carried:
        """What the next judge begins with. Raises ValueError while the step goes on."""
        if self.carried is None:
            raise ValueError(f"step {self.step} goes on, so it hands nothing on yet")
        return self.carried


class Opinion(Plain, frozen=True):
    """One reason for one verdict; a judgement is the most severe of its opinions.

    `on_timeout`: what the plan may make of it at the deadline, if it is undecided: go on without a proof that
    is missing (`advance`), go back (`rollback`), or nothing but `ask`, where going back would heal nothing.
    """

    verdict: Verdict
    reason: str
    blame: str | None = None
    on_timeout: Literal["advance", "rollback", "ask"] = "rollback"


def worst(opinions: list[Opinion]) -> Opinion:
    """The most severe opinion, the first of equals."""
    return max(opinions, key=lambda opinion: opinion.verdict.severity)


def until(have: float, need: float, seconds: float) -> str:
    """About how long it takes to have what is needed, at the pace of the last `seconds`; in words."""
    if have <= 0 or seconds <= 0:
        return "nobody can say for how long"
    return f"about {lasting((need - have) * seconds / have)} more"


def lasting(seconds: float) -> str:
    """A time as people say it: seconds, minutes from five on, hours, days, and no number beyond a year."""
    if seconds == math.inf:
        return "for ever"
    if seconds > YEAR:
        return "more than a year"
    size, unit = next((size, unit) for least, size, unit in UNITS if seconds >= least)
    return f"{seconds / size:.0f} {unit}"


def figure(value: float) -> str:
    """A number as people read it: three digits that matter, and no power of ten below a million."""
    short = f"{value:.3g}"
    return f"{float(short):,.0f}" if 1000 <= value < 1e6 else short


def percent(share: float | None) -> str:
    """A share in percent."""
    return "-" if share is None else f"{100 * share:.3g} %"
