"""What a step can detect: the smallest regression that its bake time and traffic are likely to reveal.

Evidence against a canary whose odds of a bad event are r times stable's grows by `information` nats a
request; the alarm needs about 1.5 ln(1 / (alpha * weight in the mixture)) nats in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from inference_rollouts.core.judging.judgement import lasting
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.policy import Policy, Step
from inference_rollouts.core.judging.rules import OBJECTIVE_SHARE, slack_of
from inference_rollouts.core.judging.sums import at_start
from inference_rollouts.core.judging.thresholds import spread
from inference_rollouts.core.judging.tolerance import expected
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.core.values import Value

OVERSHOOT = 1.5  # what mixing over alternatives costs, and waiting for the threshold to be crossed
CALM_KAPPA = 0.8  # what is estimated where requests are independent
LARGEST = 1000.0  # odds ratios beyond this are not called detectable


class Traffic(Value):
    """What one metric counts now: events/s of the whole service, and the bad share at each threshold."""

    rate: float
    shares: tuple[float, ...]


class StepPower(Value):
    """What one step sees of one metric.

    `odds` is the smallest odds ratio it is likely to detect in its bake time (None: not even 1000), `seconds`
    the time it needs for the policy's `min_detectable_odds` (None: for ever), `threshold` where it sees
    the best. `usual` is the bad share there, `share` what it was taken as.
    """

    index: int
    step: Step
    metric: str
    title: str
    threshold: float | None
    usual: float
    share: float
    odds: float | None
    seconds: float | None


def information(share: float, odds: float, weight: float, tolerance: float = 0.0) -> float:
    """Expected nats a request against "odds are at most 1 + tolerance", when they are `odds`.

    `share` is stable's bad share, `weight` the canary's share of the requests (0 to 1).
    """
    return _beyond(share, math.log(odds), math.log1p(tolerance), weight)


def _beyond(share: float, truth: float, null: float, weight: float) -> float:
    """Expected nats a request that the log odds ratio is more than `null`, when it is `truth`."""
    return expected_nats(share, truth, null, weight) if truth > null else 0.0


def expected_nats(share: float, truth: float, null: float, weight: float) -> float:
    """Expected nats a request that the log odds ratio is `truth`, as it is, and not `null`."""
    if not 0 < share < 1:
        return 0.0
    canary = _canary_bad(share, truth)
    bad = weight * canary + (1 - weight) * share
    effects = np.linspace(null, truth, 65)
    expected = weight * np.array([_canary_share(bad, weight, math.exp(effect)) for effect in effects])
    return (truth - null) * weight * canary - float(np.trapezoid(expected, effects))


def _canary_bad(share: float, effect: float) -> float:
    return share * math.exp(effect) / (1 - share + share * math.exp(effect))


def _canary_share(bad: float, weight: float, odds: float) -> float:
    """The canary's bad share, when both arms together have `bad` and the odds ratio is `odds`."""
    a, b, c = weight * (odds - 1), odds * (bad + weight) + 1 - weight - bad, odds * bad
    return 2 * c / (b + math.sqrt(max(b * b - 4 * a * c, 0.0)))


@dataclass(frozen=True, slots=True)
class _Watch:
    """One metric at one threshold during one step: stable's bad `share`, the log odds that are `tolerated`,
    `nats` that the alarm needs, `slack` as of `Rules`, and `gain` nats/s per nat of information."""

    weight: float
    share: float
    tolerated: float
    nats: float
    slack: float
    gain: float

    def seconds(self, odds: float) -> float:
        """Time until the alarm, with middling luck; infinite when it cannot come.

        It must be shown that the canary is worse than stable, and, with `slack`, worse than is tolerated.
        """
        needs = ((0.0, self.nats), (self.tolerated, max(self.nats - self.slack, 1.0)))
        gains = [
            (self.gain * _beyond(self.share, math.log(odds), null, self.weight), nats) for null, nats in needs
        ]
        return max(nats / gain if gain > 0 else math.inf for gain, nats in gains)


def step_powers(
    policy: Policy, metric_set: MetricSet, steps: Sequence[Step], traffic: Mapping[str, Traffic]
) -> list[StepPower]:
    """What each compared step sees of each judged metric, when the canary is bad from the start."""
    compared = metric_set.compared
    weights = sum(metric.weight for metric in compared)
    start = at_start(sum(step.bake for step in steps))
    return [
        _power_of(policy, metric, traffic[metric.name], (index, step), start * metric.weight / weights)
        for index, step in enumerate(steps, start=1)
        if step.compared
        for metric in compared
        if metric.name in traffic
    ]


def traffic_of(metric_set: MetricSet, windows: Iterable[WindowCounts]) -> dict[str, Traffic]:
    """What stable counts now, from windows before the rollout.

    A share of 0 is taken as half an event.
    """
    traffic = {}
    known = list(windows)
    seconds = sum(window.end - window.start for window in known)
    for metric in metric_set.judged:
        counts = [window.counts[metric.name].stable for window in known if metric.name in window.counts]
        n = sum(c.n for c in counts)
        if n and seconds:
            bad = (sum(c.bad[j] for c in counts) for j in range(len(metric.thresholds)))
            shares = tuple(min(max(x, 0.5), n - 0.5) / n for x in bad)
            traffic[metric.name] = Traffic(rate=n / seconds, shares=shares)
    return traffic


def shortfalls(policy: Policy, powers: Iterable[StepPower]) -> list[str]:
    """One sentence for each step that needs longer than its bake time to detect what it should."""
    odds = f"{policy.min_detectable_odds:g} times the odds"
    short = [power for power in powers if power.seconds is None or power.seconds > power.step.bake]
    return [
        f"Step {index} ({step} for {_time(step.bake)}) may miss {odds} of "
        + ", ".join(f"{power.title} (that takes {_time(power.seconds)})" for power in missed)
        + "."
        for (index, step), missed in groupby(short, key=lambda power: (power.index, power.step))
    ]


def markdown(policy: Policy, powers: Sequence[StepPower]) -> str:
    """A table for people."""
    time = f"time for odds {policy.min_detectable_odds:g}"
    lines = [
        f"| step | weight | bake | metric | usual share | smallest odds | {time} |",
        "| ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for s in powers:
        name = s.title.replace("|", "\\|")
        title = name if s.threshold is None else f"{name} > {s.threshold:g} s"
        odds = "-" if s.odds is None else f"{s.odds:.2f}"
        lines.append(
            f"| {s.index} | {s.step} | {_time(s.step.bake)} | {title} | {_usual(s)} | {odds} "
            f"| {_time(s.seconds)} |"
        )
    if any(s.usual < s.share for s in powers):
        lines += [
            "",
            "A negligible share is taken as the most that is: a multiple of less matters to nobody.",
        ]
    return "\n".join(lines)


def _usual(power: StepPower) -> str:
    """The usual share, and as what it was taken."""
    taken = f", as {_percent(power.share)}" if power.usual < power.share else ""
    return f"{_percent(power.usual)}{taken}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def _time(seconds: float | None) -> str:
    return lasting(math.inf if seconds is None else seconds)


def _watches(
    policy: Policy, metric: Rate | Latency, traffic: Traffic, step: Step, prior: float
) -> Iterator[_Watch]:
    """One for each threshold; `traffic` is of stable alone, `prior` the weight of the metric in the mixture.
    A negligible share is taken as the most that is negligible: a multiple of less matters to nobody.
    """
    weight = prior * (1 - OBJECTIVE_SHARE if policy.objectives and metric.objective else 1.0)
    kappa = CALM_KAPPA if policy.kappa == "estimate" else policy.kappa
    shares = tuple(max(metric.negligible, share) for share in traffic.shares)
    _, no_worse = expected(policy, metric, shares)
    parts = spread(metric, shares) / len(shares)
    for share, tolerated, part in zip(shares, no_worse.tolist(), parts.tolist(), strict=True):
        yield _Watch(
            weight=step.share,
            share=share,
            tolerated=tolerated,
            nats=OVERSHOOT * math.log(1 / (policy.alpha * weight * part)),
            slack=slack_of(policy.alpha, weight),
            gain=kappa * traffic.rate * (1 + step.mirror / 100),
        )


def _power_of(
    policy: Policy,
    metric: Rate | Latency,
    traffic: Traffic,
    indexed: tuple[int, Step],
    prior: float,
) -> StepPower:
    index, step = indexed
    watches = list(_watches(policy, metric, traffic, step, prior))
    times = [watch.seconds(policy.min_detectable_odds) for watch in watches]
    best = times.index(min(times))
    return StepPower(
        index=index,
        step=step,
        metric=metric.name,
        title=metric.label,
        threshold=metric.thresholds[best],
        usual=traffic.shares[best],
        share=watches[best].share,
        odds=_smallest(watches[best], step.bake),
        seconds=round(times[best], 1) if math.isfinite(times[best]) else None,
    )


def _smallest(watch: _Watch, bake: float) -> float | None:
    """The smallest odds ratio that shows within the bake time, to three digits."""
    low, high = 1.0, LARGEST
    if watch.seconds(high) > bake:
        return None
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if watch.seconds(middle) <= bake else (middle, high)
    return round(high, 3)
