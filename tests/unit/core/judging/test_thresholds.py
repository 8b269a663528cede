"""How a latency's weight is spread over its thresholds."""

from itertools import combinations

import numpy as np
import pytest

from inference_rollouts.core.judging import judge
from inference_rollouts.core.judging.rules import rules_of
from inference_rollouts.core.judging.running import log_total
from inference_rollouts.core.judging.sums import evidence_of
from inference_rollouts.core.judging.thresholds import log_spread
from inference_rollouts.core.judging.window_counts import ArmCounts
from tests.support.judging import counted, policy, small_set, step, vllm_set, window

SET = small_set()  # a rate, and a latency with two thresholds


def test_a_threshold_that_tells_more_weighs_more() -> None:
    rules = rules_of(policy(), vllm_set())
    place = rules.places["ttft"]
    both = np.zeros((2, len(rules.cells)), dtype=np.int64)
    both[0], both[1, place] = 1000, (990, 700, 300, 100, 10, 0)
    weights = np.exp(log_spread(rules, both))
    assert weights[place].mean() == weights[rules.places["inter_token"]].mean() == pytest.approx(1)
    assert np.argsort(weights[place]).tolist() == [5, 4, 0, 3, 2, 1]
    assert 0.5 < weights[place].min() < 1 < weights[place].max() < 3
    assert all(weights[rules.places[rate]] == 1 for rate in rules.rates)


def test_before_anything_is_counted_all_thresholds_weigh_alike() -> None:
    rules = rules_of(policy(), vllm_set())
    assert not log_spread(rules, np.zeros((3, 2, len(rules.cells)), dtype=np.int64)).any()


def test_weights_that_follow_the_counts_leave_an_e_process_what_it_is() -> None:
    """Any four of eight requests may have been the canary's: over all of these the evidence is 1 at most."""
    times = (0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.7, 0.7)
    rules = policy(kappa=1.0, objectives=False)

    def arm(mine: tuple[float, ...]) -> dict[str, ArmCounts]:
        slow = [sum(time > threshold for time in mine) for threshold in (0.5, 1.0)]
        return {"errors": counted(4, 0), "ttft": counted(4, *slow)}

    found = []
    for chosen in combinations(range(8), 4):
        canary, stable = (
            tuple(t for i, t in enumerate(times) if (i in chosen) is own) for own in (True, False)
        )
        sums = judge.begin(rules, SET, step(), judge.Carried())
        sums = judge.absorb(sums, window(0.0, arm(canary), arm(stable)))
        assert np.ptp(log_spread(sums.rules, sums.running.counted)) > 0.1
        found.append(np.exp(log_total(evidence_of(sums).log_e, sums.rules)))
    assert 0.99 < np.mean(found) <= 1 + 1e-12
    assert max(found) > 1.05
