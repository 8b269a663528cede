"""How long promotion takes, said before anything moves."""

from itertools import pairwise

import pytest

from inference_rollouts.core.judging.policy import Step
from inference_rollouts.core.judging.power import Traffic
from inference_rollouts.core.judging.promotion import late, promotion_seconds
from tests.support.judging import policy, small_set

STEPS = [Step(weight=weight, bake=480) for weight in (5, 10, 25, 50)]


def traffic(rate: float) -> dict[str, Traffic]:
    return {
        "errors": Traffic(rate=rate, shares=(0.01,)),
        "ttft": Traffic(rate=rate, shares=(0.3, 0.05)),
    }


def test_promotion_takes_the_longer_the_less_traffic_there_is() -> None:
    sure = policy(progress_deadline=900, kappa="estimate")
    times = [promotion_seconds(sure, small_set(), STEPS, traffic(rate)) for rate in (0.1, 1, 5, 20)]
    for slow, fast in pairwise(times):
        assert slow["errors"] > fast["errors"] >= 480
    assert late(sure, small_set(), STEPS, traffic(20)) == []
    (words,) = late(sure, small_set(), STEPS, traffic(0.5))
    assert "(errors)" in words
    assert words.endswith("the deadline is after 23 min, and then a person is asked.")


@pytest.mark.parametrize("steps", [STEPS, [Step(weight=100, bake=60)]])
def test_nothing_is_predicted_where_no_proof_is_asked_for(steps: list[Step]) -> None:
    free = policy(margin=None) if steps is STEPS else policy()
    assert promotion_seconds(free, small_set(), steps, traffic(1)) == {}
    assert late(free, small_set(), steps, traffic(1)) == []
