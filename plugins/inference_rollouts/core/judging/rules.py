"""A metric set and a policy, laid out as arrays: what is tested, against which alternatives, how weighted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.evidence import Array
from inference_rollouts.core.judging.metrics import Latency, MetricSet, Rate
from inference_rollouts.core.judging.policy import Policy

OBJECTIVE_SHARE = 0.1  # of a metric's weight, when it has an objective beside the comparison
AT_THE_BORDER = 20.0  # times alpha is the chance of an alarm by a metric that is just tolerated...
BORDER_MOST = 0.2  # ...and never more than this


@dataclass(frozen=True, slots=True)
class Cell:
    """One test: a metric at one of its thresholds (a rate has one place)."""

    metric: Rate | Latency
    place: int


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """Alternatives (cells x effects) with their log prior, and the null of each cell."""

    effects: Array
    null: Array
    prior: Array


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Metrics with as many cells and tests as each other, which can be worked out together.

    `cells` and `tests` are metrics x their places; `log_shares` is how a metric's weight is spread over its
    tests; `alarm_at` is the evidence at which one alone would raise the alarm (None: shown, not judged).
    """

    names: tuple[str, ...]
    cells: NDArray[np.int64]
    tests: NDArray[np.int64]
    log_shares: Array
    alarm_at: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Rules:
    """`cells` are compared between the arms; `objectives` are the cells with an absolute limit as well.

    `places` are the cells of each metric, by name; `alike` has them, and those with the metric's objective,
    by metrics of one form;
    `compared` are the names of the metrics that promotion needs, `rates` those of them whose bad events may
    be shown together to be no more.
    `weights` (of the comparisons, then the objectives) sum to 1. `worse` (than stable) and `breach` (of
    objectives) are the tests of the alarm, `close` (odds) and `small` (shares) those of the promotion.
    `tolerated` are the log odds that the policy tolerates at each cell; `slack`, in nats, is by how much
    evidence that its metric is worse than stable may exceed that it is worse than tolerated; `gaps` in log
    time between the threshold of a cell and the next (infinite where there is none), and `slowdown` in log
    time that each tolerates. `requests` is the cell that counts requests.
    """

    policy: Policy
    metric_set: MetricSet
    cells: tuple[Cell, ...]
    places: Mapping[str, slice]
    alike: tuple[Alike, ...]
    compared: frozenset[str]
    objectives: NDArray[np.int64]
    weights: Array
    worse: Test
    tolerated: Array
    slack: Array
    gaps: Array
    slowdown: Array
    breach: Test
    close: Test
    small: Test
    rates: tuple[str, ...]
    requests: int


def rules_of(policy: Policy, metric_set: MetricSet) -> Rules:
    """The layout; one object for all who judge alike, as long as one of them does."""
    key = policy.model_dump_json(), metric_set.model_dump_json()
    if (rules := _in_use.get(key)) is None:
        rules = _in_use[key] = _laid_out(policy, metric_set)
    return rules


_in_use: WeakValueDictionary[tuple[str, str], Rules] = WeakValueDictionary()


def _laid_out(policy: Policy, metric_set: MetricSet) -> Rules:
    """Metrics without a weight have cells too: they are shown, and have no say."""
    judged, compared = metric_set.judged, frozenset(metric.name for metric in metric_set.compared)
    cells = tuple(Cell(metric, place) for metric in judged for place in range(len(metric.thresholds)))
    names = [cell.metric.name for cell in cells]
    places = {m.name: slice(start := names.index(m.name), start + len(m.thresholds)) for m in judged}
    limited = [
        i for i, cell in enumerate(cells) if policy.objectives and cell.metric.weight and _limits(cell)
    ]
    both = {cells[i].metric.name for i in limited}
    weights = [
        cell.metric.weight / len(cell.metric.thresholds) * (1 - OBJECTIVE_SHARE * (cell.metric.name in both))
        if cell.metric.name in compared
        else 0.0
        for cell in cells
    ] + [cells[i].metric.weight * OBJECTIVE_SHARE for i in limited]
    shares = np.array(weights) / sum(weights)
    tolerances = [policy.tolerances.get(cell.metric.name, cell.metric.tolerance) for cell in cells]
    return Rules(
        policy=policy,
        metric_set=metric_set,
        cells=cells,
        places=places,
        alike=_alike(policy, shares, {n: (p, _tests(p, limited, len(cells))) for n, p in places.items()}),
        compared=compared,
        objectives=np.array(limited, dtype=np.int64),
        weights=shares,
        worse=_worse(tolerances),
        tolerated=np.log1p(np.array(tolerances)),
        slack=_slack(policy, shares, places),
        gaps=_gaps(cells, places),
        slowdown=np.array([_slowdown(cell.metric) for cell in cells]),
        breach=_breach([_limit(cells[i].metric) for i in limited]),
        close=_close(policy.margin, len(cells)),
        small=_small([cell.metric.negligible for cell in cells]),
        requests=places[metric_set.errors].start,
        rates=tuple(metric.name for metric in metric_set.compared if isinstance(metric, Rate)),
    )


def problems(policy: Policy, metric_set: MetricSet) -> list[str]:
    """One sentence for each way in which this policy does not fit this metric set."""
    known = {metric.name: metric for metric in metric_set.judged}
    mistakes = [
        f"analysis.tolerances: the metric set {metric_set.name!r} has no metric {name!r}."
        for name in policy.tolerances
        if name not in known
    ]
    for metric in metric_set.compared:
        tolerance, margin = policy.tolerances.get(metric.name, metric.tolerance), policy.margin
        if margin is not None and tolerance >= margin:
            rule = f"{margin:g} must be more than the tolerance {tolerance:g} of {metric.name!r}"
            mistakes.append(f"analysis.margin: {rule}.")
    return mistakes


def _alike(
    policy: Policy, weights: Array, places: Mapping[str, tuple[slice, NDArray[np.int64]]]
) -> tuple[Alike, ...]:
    forms: dict[tuple[int, int], list[str]] = {}
    for name, (cells, tests) in places.items():
        forms.setdefault((cells.stop - cells.start, len(tests)), []).append(name)
    return tuple(
        Alike(
            names=tuple(names),
            cells=np.array([range(places[name][0].start, places[name][0].stop) for name in names]),
            tests=np.array([places[name][1] for name in names]),
            log_shares=np.array([_log_shares(weights[places[name][1]]) for name in names]),
            alarm_at=tuple(_alarm_at(policy, float(weights[places[name][1]].sum())) for name in names),
        )
        for names in forms.values()
    )


def _log_shares(weights: Array) -> Array:
    """Of a metric's weight; all tests of one that is only shown are equal."""
    weight = float(weights.sum())
    return evidence.log(weights / weight if weight else np.full(len(weights), 1 / len(weights)))


def _alarm_at(policy: Policy, weight: float) -> float | None:
    return float(f"{1 / (policy.alpha * weight):.6g}") if weight else None


def _gaps(cells: Sequence[Cell], places: Mapping[str, slice]) -> Array:
    """In log time, between neighbours among the thresholds of one latency."""
    gaps = np.full(len(cells) - 1, np.inf)
    for place in places.values():
        metric = cells[place.start].metric
        if isinstance(metric, Latency):
            gaps[place.start : place.stop - 1] = np.diff(np.log(metric.thresholds))
    return gaps


def _slowdown(metric: Rate | Latency) -> float:
    return math.log1p(metric.slowdown) if isinstance(metric, Latency) else 0.0


def _slack(policy: Policy, weights: Array, places: Mapping[str, slice]) -> Array:
    """Of each cell; a metric without a weight raises no alarm, whatever it has."""
    slack = [[slack_of(policy.alpha, weights[p].sum() or 1.0)] * (p.stop - p.start) for p in places.values()]
    return np.concatenate(slack)


def slack_of(alpha: float, weight: float) -> float:
    """Such that a metric of this weight raises the alarm alone only on evidence of one over the chance that
    it may have at the border: by Ville's inequality, one that is just tolerated has no more."""
    return math.log(min(AT_THE_BORDER * alpha, BORDER_MOST) / (alpha * weight))


def _tests(place: slice, limited: list[int], cells: int) -> NDArray[np.int64]:
    """A metric's comparisons and, behind all comparisons, its objective."""
    objectives = [cells + j for j, i in enumerate(limited) if place.start <= i < place.stop]
    return np.array([*range(place.start, place.stop), *objectives])


def _limits(cell: Cell) -> bool:
    objective = cell.metric.objective
    return objective is not None and cell.metric.thresholds[cell.place] == objective.threshold


def _limit(metric: Rate | Latency) -> float:
    assert metric.objective is not None
    return metric.objective.share


def _worse(tolerances: list[float]) -> Test:
    """Against "the odds are at most stable's"; where half of the usual odds would be tolerated, these are
    tried beyond what is."""
    tolerated = np.log1p(np.array(tolerances))[:, None]
    odds = np.tile(np.log(evidence.WORSE_ODDS), (len(tolerances), 1))
    effects = np.where(odds[:, 2:3] <= tolerated, odds + tolerated, odds)
    return Test(effects, np.zeros(len(tolerances)), _worse_prior(len(tolerances)))


def _worse_prior(cells: int) -> Array:
    return np.tile(evidence.log(np.array(evidence.WORSE_PRIOR)), (cells, 1))


def _breach(limits: list[float]) -> Test:
    """Against "at most this share is bad"."""
    null = np.array(limits)
    odds = (null / (1 - null))[:, None] * np.array(evidence.WORSE_ODDS)
    effects = odds / (1 + odds)
    return Test(effects, null, _worse_prior(len(limits)))


def _close(margin: float | None, cells: int) -> Test:
    """Against "the odds are 1 + margin or more"."""
    null = np.full(cells, np.log1p(margin or 0.0))
    effects = null[:, None] - np.log(evidence.BETTER_RATIOS)
    return Test(effects, null, np.tile(evidence.log(np.array(evidence.BETTER_PRIOR)), (cells, 1)))


def _small(shares: list[float]) -> Test:
    """Against "this share or more is bad"; without a negligible share nothing is small."""
    null = np.array(shares)
    usable = np.broadcast_to((null > 0)[:, None], (len(shares), len(evidence.SHARE_RATIOS)))
    null = np.where(null > 0, null, 0.5)
    return Test(null[:, None] * np.array(evidence.SHARE_RATIOS), null, evidence.log_prior(usable))
