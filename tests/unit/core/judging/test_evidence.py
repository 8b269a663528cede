"""Evidence, exact against brute force, and its guarantee by simulation."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from inference_rollouts.core.judging import evidence


def exact_mean(n_c: int, n_b: int, bad: int, odds: Fraction) -> Fraction:
    """M by enumeration, in exact arithmetic."""
    terms = (math.comb(n_c, s) * math.comb(n_b, bad - s) * odds**s for s in range(bad + 1) if bad - s <= n_b)
    return sum(terms, Fraction(0))


def tables(largest: int) -> list[tuple[int, int, int]]:
    return [(c, b, e) for c, b in product(range(largest + 1), repeat=2) for e in range(c + b + 1)]


def test_mean_is_exact_on_every_small_table() -> None:
    cases = tables(7)
    odds = [Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(16)]
    n_c, n_b, bad = (np.array(column) for column in zip(*cases, strict=True))
    deltas = np.tile(np.log([float(o) for o in odds]), (len(cases), 1))
    means = evidence.log_mean(n_c, n_b, bad, deltas)
    expected = [[math.log(exact_mean(c, b, e, o)) for o in odds] for c, b, e in cases]
    np.testing.assert_allclose(means, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("n_c", "n_b", "bad"),
    [(60, 1140, 12), (600, 600, 1150), (1000, 19000, 700), (1500, 1500, 1500), (40, 900, 900), (900, 40, 60)],
)
def test_mean_is_exact_on_large_tables(n_c: int, n_b: int, bad: int) -> None:
    odds = [Fraction(1, 3), Fraction(1), Fraction(5, 4), Fraction(16)]
    means = evidence.log_mean(
        np.array([n_c]), np.array([n_b]), np.array([bad]), np.log([[float(o) for o in odds]])
    )
    expected = [_log(exact_mean(n_c, n_b, bad, o)) for o in odds]
    np.testing.assert_allclose(means[0], expected, rtol=0, atol=1e-10)


def _log(value: Fraction) -> float:
    shift = max(value.numerator.bit_length() - value.denominator.bit_length() - 100, 0)
    return math.log(value / 2**shift) + shift * math.log(2)


@pytest.mark.parametrize("odds", [Fraction(1, 3), Fraction(1), Fraction(5, 4), Fraction(16)])
@pytest.mark.parametrize(
    ("n_c", "n_b", "bad"),
    [
        (3000, 300_000, 15_000),  # deviations of 11.8 and 12.2, about where strides begin
        (3000, 300_000, 16_000),
        (2100, 2100, 520),
        (1030, 40_000, 41_000),  # all but a few are bad
        (300, 40_000, 20_000),  # the canary's support ends near the mode on both sides
        (30_000, 290, 15_000),
        (30_000, 30_000, 600),
        (6_000, 54_000, 600),
        (30_000, 30_000, 30_000),
        (54_000, 6_000, 20_000),
        (60_000, 540_000, 9_000),
    ],
)
def test_strides_leave_nothing_out(n_c: int, n_b: int, bad: int, odds: Fraction) -> None:
    delta = math.log(odds)
    means = evidence.log_mean(np.array([n_c]), np.array([n_b]), np.array([bad]), np.array([[delta]]))
    assert means[0, 0] == pytest.approx(summed_in_decimals(n_c, n_b, bad, Decimal(delta)), abs=1e-10)


@pytest.mark.parametrize("odds", [Fraction(1, 3), Fraction(10**6)])
def test_ways_may_grow_beyond_doubles_within_a_block(odds: Fraction) -> None:
    n_c, n_b, bad, delta = 3_000_000, 1000, 1000, math.log(odds)
    means = evidence.log_mean(np.array([n_c]), np.array([n_b]), np.array([bad]), np.array([[delta]]))
    assert means[0, 0] == pytest.approx(summed_in_decimals(n_c, n_b, bad, Decimal(delta)), rel=1e-13)


def summed_in_decimals(n_c: int, n_b: int, bad: int, delta: Decimal) -> float:
    """ln M term by term, with 40 digits."""
    first, last = max(0, bad - n_b), min(n_c, bad)
    with localcontext(prec=40):
        odds, term = delta.exp(), Decimal(1)
        total = term
        for s in range(first + 1, last + 1):
            term *= odds * ((n_c - s + 1) * (bad - s + 1)) / (s * (n_b - bad + s))
            total += term
        ways = Decimal(math.comb(n_c, first) * math.comb(n_b, bad - first))
        return float((total * ways).ln() + first * delta)


def test_cells_do_not_disturb_each_other() -> None:
    """Rows are padded and worked on in chunks: a mixture of sizes gives what each gives alone."""
    rng = np.random.default_rng(5)
    n_c, n_b = rng.integers(0, 3000, 400), rng.integers(0, 50_000, 400)
    bad = rng.binomial(n_c + n_b, rng.choice([0, 0.001, 0.1, 0.7], 400))
    deltas = np.tile(np.log(evidence.WORSE_ODDS), (400, 1))
    together = evidence.log_mean(n_c, n_b, bad, deltas)
    alone = [evidence.log_mean(n_c[[i]], n_b[[i]], bad[[i]], deltas[[i]])[0] for i in range(400)]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [0, 1, 2, 255, 256, 257, 1000, 100_000])
def test_binomial_coefficients_are_exact_but_for_rounding(n: int) -> None:
    chosen = sorted({k for k in (0, 1, 2, 255, 256, n // 3, n // 2, n - 1, n) if 0 <= k <= n})
    coefficients = evidence.log_choose(np.full(len(chosen), n), np.array(chosen))
    with localcontext(prec=40):
        expected = [float(Decimal(math.comb(n, k)).ln()) for k in chosen]
    np.testing.assert_allclose(coefficients, expected, rtol=1e-15, atol=max(1e-16 * n, 3e-13))


@pytest.mark.parametrize("null_odds", [1.0, 1.25])
@pytest.mark.parametrize("true_odds", [0.3, 1.0, 1.25])
def test_one_window_multiplies_evidence_by_at_most_one_under_the_null(
    null_odds: float, true_odds: float
) -> None:
    """By enumeration of the canary's count: exactly 1 at the null, below 1 within it, above 1 outside."""
    deltas, null = np.log([[1.5, 3.0, 16.0]]), np.log([null_odds])
    for n_c, n_b, bad in [(5, 9, 4), (20, 3, 6), (7, 7, 7)]:
        s = np.arange(max(0, bad - n_b), min(n_c, bad) + 1)
        ways = np.array([math.comb(n_c, k) * math.comb(n_b, bad - k) * true_odds**k for k in map(int, s)])
        size = np.ones_like(s)
        increments = evidence.odds_increments(
            n_c * size, s, n_b * size, bad - s, np.repeat(deltas, len(s), 0), np.repeat(null, len(s))
        )
        mean = (ways / ways.sum()) @ np.exp(increments)
        if true_odds == null_odds:
            np.testing.assert_allclose(mean, 1)
        else:
            assert np.all(mean < 1) == (true_odds < null_odds)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.051])
def test_evidence_against_a_limit_is_fair_at_the_limit(share: float) -> None:
    n, limit = 40, 0.05
    x = np.arange(n + 1)
    chances = np.array([math.comb(n, int(k)) * share**k * (1 - share) ** (n - k) for k in x])
    shares = np.tile([0.06, 0.2, 0.8], (n + 1, 1))
    mean = chances @ np.exp(evidence.share_increments(np.full(n + 1, n), x, shares, np.full(n + 1, limit)))
    if share == limit:
        np.testing.assert_allclose(mean, 1)
    else:
        assert np.all(mean < 1) == (share < limit)


def test_no_traffic_or_no_events_say_nothing() -> None:
    n_c, x_c = np.array([0, 100, 100, 50]), np.array([0, 0, 100, 7])
    n_b, x_b = np.array([50, 100, 30, 0]), np.array([3, 0, 30, 0])
    deltas = np.tile(np.log([2.0, 5.0]), (4, 1))
    increments = evidence.odds_increments(n_c, x_c, n_b, x_b, deltas, np.zeros(4))
    np.testing.assert_allclose(increments, 0, atol=1e-12)


def test_sums_of_nothing_are_minus_infinity() -> None:
    assert evidence.log_sum(np.array([[-np.inf, -np.inf], [0.0, -np.inf]])).tolist() == [-np.inf, 0.0]
    assert np.exp(evidence.log_prior(np.array([True, False, True]))).tolist() == pytest.approx([0.5, 0, 0.5])


def test_evidence_is_seldom_ever_large_under_the_null() -> None:
    """Ville: with a common share that drifts wildly, P(ever E >= 20) <= 1/20."""
    rng = np.random.default_rng(11)
    runs, windows = 4000, 60
    drift = np.exp(np.cumsum(rng.normal(0, 0.3, (runs, windows)), axis=1))
    share = np.clip(0.02 * drift, 0.0005, 0.9).ravel()
    n_c, n_b = rng.poisson(30, runs * windows), rng.poisson(70, runs * windows)
    x_c, x_b = rng.binomial(n_c, share), rng.binomial(n_b, share)
    deltas = np.tile(np.log(evidence.WORSE_ODDS), (runs * windows, 1))
    gains = evidence.odds_increments(n_c, x_c, n_b, x_b, deltas, np.zeros(runs * windows))
    paths = np.cumsum(gains.reshape(runs, windows, -1), axis=1)
    ever = evidence.log_sum(paths - np.log(paths.shape[2])).max(axis=1)
    assert np.mean(ever >= np.log(20)) <= 0.05


def test_token_counts_in_the_millions_take_no_memory_to_speak_of() -> None:
    """At odds 1 the mean is known: C(n_c + n_b, bad)."""
    n_c, n_b, bad = 2_000_000, 18_000_000, 9_000_000
    deltas = np.log([[1.0, *evidence.WORSE_ODDS]])
    means = evidence.log_mean(np.array([n_c]), np.array([n_b]), np.array([bad]), deltas)[0]
    assert means[0] == pytest.approx(evidence.log_choose(np.array(n_c + n_b), np.array(bad)), abs=1e-8)
    assert np.all(np.diff(means) > 0)
