"""How long promotion takes, said before anything moves."""

from itertools import pairwise

import pytest

from inference_rollouts.core.judging.metrics import MetricSet, parse_metric_set
from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.judging.power import Traffic, traffic_of
from inference_rollouts.core.judging.promotion import late, promotion_seconds
from tests.support.judging import SMALL, policy, quiet, small_set

STEPS = [Step(weight=weight, bake=480) for weight in (5, 10, 25, 50)]


def traffic(rate: float) -> dict[str, Traffic]:
    return {
        "errors": Traffic(rate=rate, shares=(0.01,)),
        "ttft": Traffic(rate=rate, shares=(0.3, 0.05)),
    }


def with_slowdown(slowdown: float) -> MetricSet:
    rate, latency = SMALL["metrics"]
    return parse_metric_set(SMALL | {"metrics": [rate, latency | {"slowdown": slowdown}]})


def test_promotion_takes_the_longer_the_less_traffic_there_is() -> None:
    sure = policy(progress_deadline=900, kappa="estimate")
    times = [promotion_seconds(sure, small_set(), STEPS, traffic(rate)) for rate in (0.1, 1, 5, 20)]
    for slow, fast in pairwise(times):
        assert slow["errors"] > fast["errors"] >= 480
    assert late(sure, small_set(), STEPS, traffic(20)) == []
    (words,) = late(sure, small_set(), STEPS, traffic(0.5))
    assert "(errors)" in words
    assert words.endswith("the deadline is after 23 min, and then a person is asked.")
    (words,) = late(sure, small_set(), STEPS, traffic(0))
    assert words.startswith("At this traffic a good canary is never shown to be good enough at ")


@pytest.mark.parametrize("steps", [STEPS, [Step(weight=100, bake=60)]])
def test_nothing_is_predicted_where_no_proof_is_asked_for(steps: list[Step]) -> None:
    free = policy(margin=None) if steps is STEPS else policy()
    assert promotion_seconds(free, small_set(), steps, traffic(1)) == {}
    assert late(free, small_set(), steps, traffic(1)) == []


def test_where_a_slowdown_is_tolerated_the_margin_is_one_of_times() -> None:
    """Times that are nearly alike: 99 % take longer than one threshold, 1 % longer than the next."""
    alike = traffic(0.5) | {"ttft": Traffic(rate=0.5, shares=(0.99, 0.01))}
    slow = [promotion_seconds(policy(), with_slowdown(each), STEPS, alike)["ttft"] for each in (0.0, 0.08)]
    assert slow[0] > 2 * slow[1]


def test_a_service_without_failures_is_soon_shown_to_have_none() -> None:
    """A request a second without a failure, where 1 % would be negligible: no failures are waited for."""
    seen = [quiet(10.0 * start, 10) for start in range(100)]
    strict, lenient = (
        promotion_seconds(policy(), each, STEPS, traffic_of(each, seen))["errors"]
        for each in (small_set(negligible=0.0), small_set(negligible=0.01))
    )
    assert lenient < 1200 < 10000 < strict
