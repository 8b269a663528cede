"""Laws of the evidence."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference_rollouts.core.judging import evidence

tables = st.tuples(st.integers(0, 60), st.integers(0, 60)).flatmap(
    lambda sizes: st.tuples(st.just(sizes[0]), st.just(sizes[1]), st.integers(0, sum(sizes)))
)
odds = st.fractions(Fraction(1, 20), Fraction(20), max_denominator=20)


@given(tables, odds)
def test_the_mean_is_that_of_enumeration(table: tuple[int, int, int], ratio: Fraction) -> None:
    n_c, n_b, bad = table
    support = range(max(0, bad - n_b), min(n_c, bad) + 1)
    exact = sum(math.comb(n_c, s) * math.comb(n_b, bad - s) * ratio**s for s in support)
    mean = evidence.log_mean(np.array([n_c]), np.array([n_b]), np.array([bad]), np.array([[math.log(ratio)]]))
    np.testing.assert_allclose(mean[0, 0], math.log(exact), atol=1e-10)


@given(tables, odds, odds)
def test_evidence_is_fair_at_the_null(table: tuple[int, int, int], null: Fraction, other: Fraction) -> None:
    n_c, n_b, bad = table
    s = np.arange(max(0, bad - n_b), min(n_c, bad) + 1)
    same = np.ones_like(s)
    log_chance = np.array(
        [math.log(math.comb(n_c, k) * math.comb(n_b, bad - k)) + k * math.log(null) for k in map(int, s)]
    )
    chance = np.exp(log_chance - evidence.log_sum(log_chance))
    gain = evidence.odds_increments(
        n_c * same,
        s,
        n_b * same,
        bad - s,
        np.full((len(s), 1), math.log(other)),
        np.full(len(s), math.log(null)),
    )
    np.testing.assert_allclose(chance @ np.exp(gain[:, 0]), 1, rtol=1e-8)


@given(tables.filter(lambda t: t[2] > 0), st.floats(0.1, 1))
def test_corrected_evidence_is_never_unfair(table: tuple[int, int, int], kappa: float) -> None:
    n_c, n_b, bad = table
    s = np.arange(max(0, bad - n_b), min(n_c, bad) + 1)
    same = np.ones_like(s)
    log_chance = np.array([math.log(math.comb(n_c, k) * math.comb(n_b, bad - k)) for k in map(int, s)])
    chance = np.exp(log_chance - evidence.log_sum(log_chance))
    deltas = np.tile(np.log(evidence.WORSE_ODDS), (len(s), 1))
    gain = evidence.odds_increments(n_c * same, s, n_b * same, bad - s, deltas, np.zeros(len(s)))
    assert np.all(chance @ np.exp(kappa * gain) <= 1 + 1e-9)
