"""What a step can see."""

import math

import numpy as np
import pytest

from inference_rollouts.core.judging import evidence
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.judging.power import (
    Traffic,
    information,
    markdown,
    shortfalls,
    step_powers,
    traffic_of,
)
from inference_rollouts.core.judging.sums import START
from tests.support.judging import SMALL, policy, quiet, small_set

TRAFFIC = {"errors": Traffic(rate=20, shares=(0.01,)), "ttft": Traffic(rate=20, shares=(0.4, 0.05))}
STEPS = [Step(weight=5, bake=300), Step(weight=50, bake=600), Step(weight=100, bake=300)]


@pytest.mark.parametrize("weight", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("odds", [1.5, 2.0, 5.0])
def test_information_of_rare_events_is_the_poisson_formula(weight: float, odds: float) -> None:
    share, all_ = 1e-5, 1 - weight + weight * odds
    expected = share * (weight * odds * math.log(odds) - all_ * math.log(all_))
    assert information(share, odds, weight) == pytest.approx(expected, rel=1e-3)


def test_information_of_common_events_is_that_of_a_two_by_two_table() -> None:
    share, odds, weight = 0.4, 3.0, 0.3
    canary = share * odds / (1 - share + share * odds)
    mean = weight * canary + (1 - weight) * share

    def divergence(p: float) -> float:
        return p * math.log(p / mean) + (1 - p) * math.log((1 - p) / (1 - mean))

    expected = weight * divergence(canary) + (1 - weight) * divergence(share)
    assert information(share, odds, weight) == pytest.approx(expected, rel=1e-4)


def test_what_is_tolerated_is_not_seen() -> None:
    assert information(0.1, 1.2, 0.5, tolerance=0.25) == 0
    assert 0 < information(0.1, 2, 0.5, tolerance=0.25) < information(0.1, 2, 0.5)


def test_more_traffic_weight_or_time_sees_smaller_regressions() -> None:
    rows = step_powers(policy(), small_set(), STEPS, TRAFFIC)
    assert [(row.index, row.metric) for row in rows] == [
        (1, "errors"),
        (1, "ttft"),
        (2, "errors"),
        (2, "ttft"),
    ]
    by = {(row.index, row.metric): row for row in rows}
    assert 1 < (by[2, "errors"].odds or 0) < (by[1, "errors"].odds or 0)
    assert by[1, "ttft"].threshold == 0.5
    busy = step_powers(policy(), small_set(), STEPS, {"errors": Traffic(rate=200, shares=(0.01,))})
    assert 1 < (busy[0].odds or 0) < (by[1, "errors"].odds or 0)


def test_copies_come_on_top_of_what_stable_gets() -> None:
    mirror, weight = Step(weight=0, mirror=25, bake=300), Step(weight=20, bake=300)
    copied, moved = (step_powers(policy(), small_set(), [each], TRAFFIC)[0] for each in (mirror, weight))
    assert mirror.share == weight.share == 0.2
    assert (moved.seconds or 0) / (copied.seconds or 1) == pytest.approx(1.25, rel=0.01)
    keen = policy(min_detectable_odds=1.1)
    assert (
        "(25 % mirrored for 5 min)" in shortfalls(keen, step_powers(keen, small_set(), [mirror], TRAFFIC))[0]
    )


def test_the_smallest_odds_take_the_whole_bake_time() -> None:
    row = step_powers(policy(), small_set(), STEPS, TRAFFIC)[2]
    assert row.odds
    again = step_powers(policy(min_detectable_odds=row.odds), small_set(), STEPS, TRAFFIC)[2]
    assert again.seconds == pytest.approx(row.step.bake, rel=0.01)


def test_short_steps_are_named() -> None:
    words = shortfalls(
        policy(min_detectable_odds=2.5),
        step_powers(policy(min_detectable_odds=2.5), small_set(), STEPS, TRAFFIC),
    )
    assert len(words) == 1
    assert words[0].startswith("Step 1 (5 % for 5 min) may miss 2.5 times the odds of errors (that takes ")
    lax = policy(min_detectable_odds=30.0)
    assert shortfalls(lax, step_powers(lax, small_set(), STEPS, TRAFFIC)) == []


def test_what_a_step_may_miss_is_one_sentence() -> None:
    strict = policy(min_detectable_odds=1.05)
    powers = step_powers(strict, small_set(), STEPS, TRAFFIC)
    words = shortfalls(strict, powers)
    assert [sentence.partition(" (")[0] for sentence in words] == ["Step 1", "Step 2"]
    assert all(sentence.count("that takes") == 2 for sentence in words)


@pytest.mark.parametrize("shares", [(0.0,), (1.0,)])
def test_nothing_is_seen_where_nothing_varies(shares: tuple[float, ...]) -> None:
    traffic = {"errors": Traffic(rate=20, shares=shares)}
    (row, *_) = step_powers(policy(), small_set(negligible=0), STEPS, traffic)
    assert (row.odds, row.seconds) == (None, None)
    assert "for ever" in markdown(policy(), [row])


def test_a_title_is_one_cell_of_the_table() -> None:
    [row, *_] = step_powers(policy(), small_set(title="4xx | 5xx"), STEPS, TRAFFIC)
    assert "| 4xx \\| 5xx |" in markdown(policy(), [row])


def test_traffic_is_measured_on_stable() -> None:
    traffic = traffic_of(small_set(), [quiet(0, 100, (50, 1)), quiet(10, 100, (50, 0))])
    assert traffic["errors"] == Traffic(rate=10, shares=(0.005,))
    assert traffic["ttft"].shares == (0.25, 0.05)
    assert traffic_of(small_set(), [quiet(0, 400)])["errors"].shares == (0.00125,)  # half an event
    assert traffic_of(small_set(), []) == {}


def test_of_what_is_negligible_no_step_is_asked_to_see_a_multiple() -> None:
    tables = [
        step_powers(policy(), small_set(), STEPS, {"errors": Traffic(rate=20, shares=(share,))})
        for share in (0.0001, 0.005)
    ]
    assert [each.usual for each in tables[0]] == [0.0001] * len(tables[0])
    assert [each.model_copy(update={"usual": each.share}) for each in tables[0]] == tables[1]


def test_power_agrees_with_simulation() -> None:
    """The table's time is near the median time to alarm."""
    rng, runs, windows = np.random.default_rng(2), 300, 60
    rules = policy(objectives=False)
    metric_set = small_set(tolerance=0)
    (row, *_) = step_powers(
        rules.model_copy(update={"min_detectable_odds": 3.0}),
        metric_set,
        [Step(weight=50, bake=600)],
        TRAFFIC,
    )
    n_c, n_b = rng.poisson(100, runs * windows), rng.poisson(100, runs * windows)
    x_c, x_b = rng.binomial(n_c, 0.0294), rng.binomial(n_b, 0.01)
    deltas = np.tile(np.log(evidence.WORSE_ODDS), (runs * windows, 1))
    gains = evidence.odds_increments(n_c, x_c, n_b, x_b, deltas, np.zeros(runs * windows))
    grown = np.cumsum(gains.reshape(runs, windows, -1), axis=1) + np.log(evidence.WORSE_PRIOR)
    seconds = 10.0 * (1 + np.argmax(evidence.log_sum(grown) >= np.log(2 / (START * 0.01)), axis=1))
    assert row.seconds
    assert np.median(seconds) == pytest.approx(row.seconds, rel=0.35)


def test_more_steps_to_come_take_nothing_from_what_the_first_sees() -> None:
    alone, first = (step_powers(policy(), small_set(), steps, TRAFFIC)[0] for steps in (STEPS[:1], STEPS))
    assert alone == first


def test_evidence_that_is_shared_by_more_thresholds_takes_longer() -> None:
    rate, latency = SMALL["metrics"]
    one_threshold = parse_metric_set(SMALL | {"metrics": [rate, latency | {"thresholds": [0.5]}]})
    traffic = {"ttft": Traffic(rate=20, shares=(0.4,))}
    (one,) = step_powers(policy(), one_threshold, STEPS[:1], traffic)
    (two,) = step_powers(policy(), small_set(), STEPS[:1], {"ttft": Traffic(rate=20, shares=(0.4, 0.3))})
    assert (one.seconds or 0) < (two.seconds or 0)


def test_times_that_are_nearly_alike_need_larger_odds() -> None:
    """As where 98 % take longer than one threshold and 1 % than the next."""
    spread, alike = (
        step_powers(policy(), small_set(), STEPS[1:2], {"ttft": Traffic(rate=20, shares=shares)})[0]
        for shares in ((0.4, 0.2), (0.98, 0.01))
    )
    assert (spread.odds or 0) < 1.6 < 2.4 < (alike.odds or 0)
