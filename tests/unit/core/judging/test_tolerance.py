"""What is tolerated: odds, and times that are a little longer."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.evidence import Array
from inference_rollouts.core.judging.judge import Carried, Verdict
from inference_rollouts.core.judging.metrics import Latency, MetricSet, parse_metric_set
from inference_rollouts.core.judging.rules import rules_of
from inference_rollouts.core.judging.tolerance import BEYOND, MOST, slower, tolerated
from inference_rollouts.core.judging.window_counts import WindowCounts
from tests.support.judging import SMALL, counted, judged, policy, quiet, step, window

STEEP = 12.0  # how fast log odds of being slow fall with log time: times within some 15 % of each other


def with_thresholds(*thresholds: float, **changes: object) -> MetricSet:
    rate, latency = SMALL["metrics"]
    return parse_metric_set(SMALL | {"metrics": [rate, latency | {"thresholds": list(thresholds)} | changes]})


def latency_of(metric_set: MetricSet) -> Latency:
    metric = metric_set["ttft"]
    assert isinstance(metric, Latency)
    return metric


def slow_share(threshold: float, longer: float = 1.0) -> float:
    """Log-logistic times, of which 90 % take longer than half a second, stretched."""
    odds: float = 9.0 * (longer * 0.5 / threshold) ** STEEP
    return odds / (1 + odds)


def stretched(count: int, longer: float, n: int = 4000) -> list[WindowCounts]:
    """Windows of the small set whose canary takes so many times as long."""
    canary, stable = (
        {"errors": counted(n, 0), "ttft": counted(n, *(round(n * slow_share(b, each)) for b in (0.5, 1.0)))}
        for each in (longer, 1.0)
    )
    return [window(10.0 * i, canary, stable) for i in range(count)]


def later(times: NormalDist, *thresholds: float) -> Array:
    """The share slower than each threshold; `times` are their logs."""
    return np.array([times.cdf(2 * times.mean - math.log(each)) for each in thresholds])


def log_odds(shares: Array) -> Array:
    return np.asarray(np.log(shares / (1 - shares)))


@pytest.mark.parametrize("spread", [0.15, 0.3, 1.0])
def test_where_log_times_are_normal_the_odds_of_longer_times_are_exact(spread: float) -> None:
    thresholds = (0.7, 1.0, 1.2, 1.5)
    metric = latency_of(with_thresholds(*thresholds, slowdown=0.05))
    now, longer = (log_odds(later(NormalDist(math.log(m), spread), *thresholds)) for m in (0.9, 0.9 * 1.05))
    np.testing.assert_allclose(slower(metric, now)[1:-1], (longer - now)[1:-1], rtol=0.03)


def test_beyond_the_outermost_threshold_the_bulk_may_be_steeper_than_up_to_the_next() -> None:
    """The tail of one request in 200 that takes eight times as long hides how steep the others are."""
    thresholds = (0.8, 1.6, 6.4)
    metric = latency_of(with_thresholds(*thresholds, slowdown=0.08))

    def late(longer: float) -> Array:
        most, few = (later(NormalDist(math.log(m * longer), 0.15), *thresholds) for m in (1, 8))
        return log_odds(0.995 * most + 0.005 * few)

    made, tolerates = late(1.08) - late(1.0), slower(metric, late(1.0))
    assert tolerates[0] / BEYOND < made[0] < tolerates[0] < BEYOND * made[0]


def test_the_steeper_side_counts_and_at_most_so_much() -> None:
    metric = latency_of(with_thresholds(1.0, 2.0, 4.0, slowdown=0.1))
    gentle, steep = (slower(metric, np.array([fall, 0.0, -4.0]))[1] for fall in (1.0, 3.9))
    assert gentle == steep == pytest.approx(slower(metric, np.array([4.0, 0.0, -1.0]))[1])
    assert slower(metric, np.array([50.0, -50.0, -51.0]))[0] == MOST


def test_a_lone_threshold_tells_no_slope() -> None:
    assert slower(latency_of(with_thresholds(1.0)), np.array([0.3])).tolist() == [0]


def test_the_larger_of_odds_and_times_is_tolerated() -> None:
    rules = rules_of(policy(tolerances={"errors": 1.0}), with_thresholds(0.5, 1.0))
    nothing = np.zeros((2, 3), dtype=np.int64)
    np.testing.assert_allclose(tolerated(rules, nothing), np.log([2.0, 1.1, 1.1]))
    alike = np.array([[1000, 1000, 1000], [10, 900, 2]])
    odds, first, second = np.exp(tolerated(rules, alike))
    assert odds == pytest.approx(2)
    assert 2 < first < second < 5


@pytest.mark.parametrize(("longer", "verdict"), [(1.05, Verdict.ADVANCE), (1.25, Verdict.ROLLBACK)])
def test_times_within_the_slowdown_are_no_regression_whatever_the_odds(
    longer: float, verdict: Verdict
) -> None:
    """1.05 times as long makes odds of 1.8 here, in 240,000 requests of each arm."""
    windows = stretched(60, longer)
    assert judged(windows, step=step(bake=600.0)).verdict is verdict
    strict = judged(windows, step=step(bake=600.0), metric_set=with_thresholds(0.5, 1.0, slowdown=0.0))
    assert strict.verdict is Verdict.ROLLBACK


def test_what_was_counted_goes_from_step_to_step() -> None:
    first = judged([quiet(0.0), quiet(10.0)], step=step(index=1, steps=2)).handed_on
    assert first.counted == ((400, 400, 400), (0, 100, 20))
    sums = judge.begin(policy(), with_thresholds(0.5, 1.0), step(index=2, steps=2), first)
    again = judge.absorb(sums, quiet(0.0)).running.counted
    assert again.tolist() == [[600, 600, 600], [0, 150, 30]]
    assert Carried.from_json(first.to_json()) == first


@pytest.mark.parametrize("count", [4, 7, 30])
@pytest.mark.parametrize("alpha", [0.1, 0.01, 0.0001])
def test_what_is_just_tolerated_raises_no_alarm_at_any_time_nor_alpha(alpha: float, count: int) -> None:
    """Twice the odds of failing, in thousands of requests of each arm: that is surely worse than stable."""
    windows = [quiet(10.0 * i, 1000, errors=(20, 10)) for i in range(count)]
    given = {"alpha": alpha, "margin": None, "objectives": False}
    bake = step(bake=10.0 * count)
    tolerant = judged(windows, policy=policy(**given, tolerances={"errors": 1.03}), step=bake)
    assert tolerant.verdict is not Verdict.ROLLBACK
    if count == 30:
        assert tolerant.verdict is Verdict.ADVANCE
        assert judged(windows, policy=policy(**given), step=bake).verdict is Verdict.ROLLBACK


@pytest.mark.parametrize(("longer", "passes"), [(1.05, True), (1.2, False)])
def test_times_within_the_slowdown_are_good_enough_whatever_the_odds(longer: float, passes: bool) -> None:
    """1.05 times as long makes odds of 1.8 here, 1.2 times 8.9: the margin alone is 2. No alarm is raised."""
    last, sure = step(last_compared=True), policy(alpha=1e-200)
    judgement = judged(stretched(6, longer, 300), step=last, policy=sure)
    assert (judgement.verdict is Verdict.ADVANCE) == passes
    exact = with_thresholds(0.5, 1.0, slowdown=0.0)
    strict = judged(stretched(6, 1.05, 300), step=last, policy=sure, metric_set=exact)
    assert strict.verdict is not Verdict.ADVANCE
