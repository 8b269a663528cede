"""The rules that are compared, and what they make of simulated rollouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench import ours, peers
from bench.streams import PER_MINUTE, Array, Scenario, Stream, windows

ALPHA = 0.01
Statistic = Callable[[Stream, Array], Array]
"""A running statistic of a stream and its likelihood ratios: rollouts x windows x metrics."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An alarm when a statistic passes its threshold. The usual variant comes first; tuning may take any."""

    name: str
    usual: tuple[float, ...]
    variants: tuple[Statistic, ...]


def _ours(kappa: ours.Kappa) -> Statistic:
    return lambda stream, gains: ours.log_evidence(stream, gains, ours.kappas(stream, kappa))[..., None]


def _counter(failures: int, span: int, each_step: bool) -> Statistic:
    return lambda stream, _: peers.counter(stream, failures, span, each_step=each_step)


ALARM = (float(np.log(1 / ALPHA)),)
RULES = (
    Rule("ours, kappa 1", ALARM, (_ours(1.0),)),
    Rule("ours, kappa .5", ALARM, (_ours(0.5),)),
    Rule("ours, estimated", ALARM, (_ours("estimate"),)),
    Rule("Kayenta", (2.326, 2.326), (lambda stream, _: peers.kayenta(stream),)),
    Rule("Flagger", (0.03, 1.5), tuple(_counter(n, 1, False) for n in (5, 2, 10, 20))),
    Rule("Argo", (0.03, 1.5), tuple(_counter(n, 5, True) for n in (4, 2, 8))),
    Rule("peeked z", (2.326,), (lambda stream, _: peers.z_test(stream),)),
)


@dataclass(frozen=True, slots=True)
class Run:
    """A statistic on many rollouts of one scenario: its running maximum, and what each window cost."""

    highest: Array
    excess: Array

    def alarms(self, thresholds: Sequence[float] | Array) -> Array:
        """Minutes to the alarm of each rollout; infinite: none."""
        over = np.any(self.highest > np.asarray(thresholds), axis=2)
        return np.where(over.any(axis=1), (over.argmax(axis=1) + 1) / PER_MINUTE, np.inf)

    def exposure(self, thresholds: Sequence[float] | Array) -> float:
        """Requests served badly until the alarm, or until the end, on average."""
        ends = np.minimum(self.alarms(thresholds) * PER_MINUTE, windows()).astype(int)
        served = np.cumsum(self.excess, axis=1)
        return float(np.mean(served[np.arange(len(ends)), ends - 1]))


Runs = dict[str, Run]
"""One statistic's runs, by scenario."""


def run_all(streams: Iterable[tuple[Scenario, Stream]]) -> dict[str, list[Runs]]:
    """The runs of every variant of every rule; only one stream is held at a time."""
    runs_of: dict[str, list[Runs]] = {rule.name: [{} for _ in rule.variants] for rule in RULES}
    for scenario, stream in streams:
        gains = ours.increments(stream)
        for rule in RULES:
            for variant, runs in zip(rule.variants, runs_of[rule.name], strict=True):
                highest = np.maximum.accumulate(variant(stream, gains).astype(np.float32), axis=1)
                runs[scenario.name] = Run(highest, stream.excess)
    return runs_of


def tuned(runs: Runs, nulls: Sequence[Scenario]) -> Array:
    """The lowest thresholds with at most ALPHA false alarms in every null, shared evenly by the metrics."""
    highest = [runs[null.name].highest[:, -1] for null in nulls]
    allowed = 1 - ALPHA / highest[0].shape[1]
    limits = [np.quantile(values, allowed, axis=0, method="higher") for values in highest]
    return np.asarray(np.max(limits, axis=0))


def best(variants: Sequence[Runs], nulls: Sequence[Scenario], regressions: Sequence[Scenario]) -> Runs:
    """The variant that, tuned, alarms the soonest over all regressions; no alarm counts two rollouts."""

    def late(runs: Runs) -> float:
        limits = tuned(runs, nulls)
        return sum(float(np.minimum(runs[s.name].alarms(limits), windows()).mean()) for s in regressions)

    return min(variants, key=late)
