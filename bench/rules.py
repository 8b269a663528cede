"""The rules that are compared, and what they make of simulated rollouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench import ours, peers
from bench.traffic import PER_MINUTE, Array, Stream
from inference_rollouts.core.judging.rules import Rules

ALPHA = 0.01
PEERS: Mapping[str, Callable[[Stream, Rules], Array]] = {
    "Kayenta": peers.kayenta,
    "CMH, group-sequential": peers.group_sequential,
    "CMH, mSPRT": peers.mixture,
}
OURS = "ours"


@dataclass(frozen=True, slots=True)
class Row:
    """Many rollouts of one scenario.

    The running maximum of each rule's statistics (rollouts x windows x tests), and, of the shipped policy,
    the minute of its alarm and of its promotion (infinite: none).
    """

    highest: Mapping[str, Array]
    alarm: Array
    promotion: Array

    @property
    def alarms(self) -> float:
        """The share of rollouts with an alarm before they were promoted."""
        return float((self.alarm < self.promotion).mean())

    @property
    def promotions(self) -> float:
        """The share of rollouts promoted, without an alarm before, within the deadline."""
        return float((np.isfinite(self.promotion) & (self.promotion <= self.alarm)).mean())

    def minutes(self, rule: str, limits: Array) -> Array:
        """When a rule with these thresholds raises its alarm; infinite: never."""
        return first(np.logical_or.reduce(self.highest[rule] > limits, axis=2))


def first(reached: NDArray[np.bool_]) -> Array:
    """Minutes until the first window of each rollout in which something is reached; infinite: never."""
    return np.where(reached.any(axis=1), (reached.argmax(axis=1) + 1) / PER_MINUTE, np.inf)


def row(stream: Stream, rules: Rules) -> Row:
    """What all rules make of one scenario's rollouts. Ours does not promote while something is in the air:
    with evidence of the square root of the alarm's."""
    seen = ours.judged(stream, rules)
    alarm_at = np.log(1 / rules.policy.alpha)
    highest = {OURS: _highest(seen.total[..., None])}
    for name, statistic in PEERS.items():
        highest[name] = _highest(statistic(stream, rules))
    return Row(
        highest=highest,
        alarm=first(np.asarray(seen.total >= alarm_at)),
        promotion=first(np.all(seen.good >= 0, axis=2) & (seen.total < alarm_at / 2)),
    )


def _highest(statistic: Array) -> Array:
    return np.asarray(np.maximum.accumulate(statistic.astype(np.float32), axis=1))


def tuned(nulls: Sequence[Row], rule: str) -> Array:
    """The lowest thresholds with at most ALPHA false alarms in every null: each test gets the same chance."""
    highest = [each.highest[rule][:, -1] for each in nulls]
    limits = highest[0].max(axis=0)
    for chance in np.linspace(ALPHA, 0, 41):
        limits = np.max(
            [np.quantile(values, 1 - chance, axis=0, method="lower") for values in highest], axis=0
        )
        if max((values > limits).any(axis=1).mean() for values in highest) <= ALPHA:
            break
    return np.asarray(limits)
