"""Laws of the observed split, by the exact distribution of the canary's requests."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inference_rollouts.core.judging.evidence import log_choose
from inference_rollouts.core.judging.split import CHANCE, SLACK, Split, enough_for

SHARES = st.floats(0.001, 0.999)
SEEN = 5618  # requests that show half a share at 5 %


def complaints(declared: float, requests: int, real: float) -> float:
    """How likely it is that a split of these requests, really at a share of `real`, is complained about."""
    counts = np.arange(requests + 1)
    ways = log_choose(np.full(requests + 1, requests), counts)
    chance = np.exp(ways + counts * np.log(real) + (requests - counts) * np.log1p(-real))
    matches = np.array([Split(declared, count / requests, requests).matches for count in counts.tolist()])
    return float(chance[~matches].sum())


@settings(deadline=None, max_examples=60)
@given(SHARES, st.integers(1, 3000), st.sampled_from([1 / SLACK, 1.0, SLACK]))
@example(0.05, 50, 1 / SLACK)
@example(0.001, 3000, SLACK)
@example(0.999, 3000, 1 / SLACK)
def test_a_fair_split_is_hardly_ever_complained_about(share: float, requests: int, odds: float) -> None:
    """Nor is one whose odds are off by the slack."""
    real = share * odds / (1 - share + share * odds)
    assert complaints(share, requests, real) <= CHANCE


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("mirrored", [False, True])
def test_half_a_share_is_seen(share: float, mirrored: bool) -> None:
    """Of the canary or, near 100 %, of stable."""
    declared, real = (1 - share, 1 - share / 2) if mirrored else (share, share / 2)
    assert complaints(declared, enough_for(declared, 50), real) >= 0.97


def test_half_a_share_of_five_percent_is_seen_within_so_many_requests() -> None:
    assert enough_for(0.05, 50) == SEEN


@settings(deadline=None)
@given(st.integers(2, 3000))
def test_at_a_hundred_percent_stragglers_are_no_complaint(requests: int) -> None:
    assert complaints(1.0, requests, 0.99) <= CHANCE
    assert Split(1.0, 1.0, requests).matches
