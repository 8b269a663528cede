"""Tempering: what counts as noise, and what does not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference_rollouts.core.judging import evidence, overdispersion
from inference_rollouts.core.judging.overdispersion import (
    BLOCK,
    Dispersion,
    Scattered,
    kept,
    nothing_known,
    resumed,
)

ROLLOUTS, MINUTES = 200, 60
BOUNDS = (0.001, 1.0)
Counted = np.ndarray
Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def alike(rng: np.random.Generator, minute: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(ROLLOUTS), np.zeros(ROLLOUTS)


def drift(rng: np.random.Generator, minute: int) -> tuple[np.ndarray, np.ndarray]:
    both = np.full(ROLLOUTS, 1.5 * np.sin(minute / 5))
    return both, both


def lasting(rng: np.random.Generator, minute: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(ROLLOUTS, np.log(3)), np.zeros(ROLLOUTS)


def noise(rng: np.random.Generator, minute: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 0.5, ROLLOUTS), np.zeros(ROLLOUTS)


def slow_noise(rng: np.random.Generator, minute: int) -> tuple[np.ndarray, np.ndarray]:
    """It turns every eight minutes."""
    return 0.5 * np.where(np.arange(ROLLOUTS) + minute // 8 & 1, 1.0, -1.0), np.zeros(ROLLOUTS)


def scattered(chi2: np.ndarray, df: float, lasting_chi2: float = 0.0) -> Scattered:
    shape, none = np.ones(chi2.shape), np.zeros(chi2.shape)
    return Scattered(chi2, df * shape, lasting_chi2 * shape, none, none, none)


def observe(
    known: Dispersion, n_c: Counted, x_c: Counted, n_b: Counted, x_b: Counted, pods: Scattered, seconds: float
) -> Dispersion:
    """After one more window."""
    known = overdispersion.with_pods(known, n_b, (x_c + x_b) / (n_c + n_b), pods)
    return overdispersion.with_time(known, np.stack([n_c, n_b]), np.stack([x_c, x_b]), np.array(seconds))


def kappa_of(known: Dispersion, n_c: Counted, n_b: Counted, bad: Counted, **given: Any) -> np.ndarray:
    """Of a window whose pods tell nothing, unless given."""
    n, none = np.stack([n_c, n_b]), np.zeros(np.shape(n_c))
    return overdispersion.kappa(
        known,
        n,
        bad,
        given.get("pods", scattered(none, 0.0)),
        given.get("requests", n.sum(axis=0)),
        np.array(given.get("seconds", BLOCK)),
        none + given.get("slower", 0.0),
        given.get("bounds", BOUNDS),
    )


def learned(draw: Draw, observations: int = 1, clump: int = 1) -> tuple[Dispersion, float]:
    """What an hour teaches, in windows of a minute or parts of it, and the median kappa after it."""
    rng, known = np.random.default_rng(7), nothing_known(ROLLOUTS)
    n_c, n_b = np.full(ROLLOUTS, 300 // observations), np.full(ROLLOUTS, 900 // observations)
    for minute in range(MINUTES):
        p_c, p_b = (1 / (1 + np.exp(-(np.log(0.05 / 0.95) + shift))) for shift in draw(rng, minute))
        for _ in range(observations):
            x_c, x_b = rng.binomial(n_c // clump, p_c) * clump, rng.binomial(n_b // clump, p_b) * clump
            pods = scattered(clump * rng.chisquare(3, ROLLOUTS), 3.0)
            known = observe(known, n_c, x_c, n_b, x_b, pods, BLOCK / observations)
    kappa = kappa_of(known, n_c, n_b, np.full(ROLLOUTS, 60 // observations), seconds=BLOCK / observations)
    return known, float(np.median(kappa))


@pytest.mark.parametrize("draw", [alike, drift, lasting])
def test_drift_and_lasting_differences_are_no_noise(draw: Draw) -> None:
    assert learned(draw)[1] > 0.75


def test_noise_of_one_arm_is_learned_as_a_variance_of_the_log_odds() -> None:
    information = 1 / (1 / 15 + 1 / 285 + 1 / 45 + 1 / 855)
    assert learned(noise)[1] == pytest.approx(1 / (1 + 0.25 * information), rel=0.5)


def test_noise_that_moves_slowly_is_seen_over_longer_stretches() -> None:
    assert learned(slow_noise)[1] < 0.5 * learned(noise)[1]


def test_the_interval_hides_no_noise() -> None:
    """Noise that lasts a minute is the same noise when it is looked at every six seconds."""
    assert learned(noise, observations=10)[1] == pytest.approx(learned(noise)[1], rel=0.4)


def test_clumps_are_learned_from_the_pods_of_stable() -> None:
    assert learned(alike, clump=5)[1] < 1 / 3


def test_a_rare_burst_in_one_pod_is_most_of_what_scatters() -> None:
    """Of 57 bad events of four pods 38 are of one of twenty minutes, and of one pod."""
    known, n = nothing_known(1), np.array([1000])
    for bad, chi2 in [(1, 3.0)] * 19 + [(38, 3 * 38.0)]:
        known = observe(known, n, np.array([1]), n, np.array([bad]), scattered(np.array([chi2]), 3.0), BLOCK)
    assert overdispersion.between_pods(known)[0] > 10


def test_where_windows_are_alike_each_is_a_test() -> None:
    known, n, bad = nothing_known(1), np.array([1000]), np.array([10])
    for _ in range(20):
        known = observe(known, n, bad, n, bad, scattered(np.array([15.0]), 3.0), BLOCK)
    beyond = 300 - 60 - np.sqrt(2 * 60)
    assert overdispersion.between_pods(known)[0] == pytest.approx(1 + (beyond + 2) / (60 + 1))


@pytest.mark.parametrize("worse", [1, 5])
def test_few_events_make_no_noise(worse: int) -> None:
    """A canary with 60 requests a minute, a third of a percent of them bad, or five times that from the
    start."""
    rng, known = np.random.default_rng(7), nothing_known(ROLLOUTS)
    n_c, n_b = np.full(ROLLOUTS, 60), np.full(ROLLOUTS, 1140)
    for _ in range(16):
        x_c, x_b = rng.binomial(n_c, worse / 300), rng.binomial(n_b, 1 / 300)
        pods = scattered(rng.chisquare(3, ROLLOUTS), 3.0)
        known = observe(known, n_c, x_c, n_b, x_b, pods, BLOCK)
    kappa = kappa_of(known, n_c, n_b, np.full(ROLLOUTS, 8))
    assert kappa.mean() > 0.85


def test_each_threshold_has_a_dispersion_of_its_own() -> None:
    known, n, bad = nothing_known(2), np.array([1000, 1000]), np.array([10, 10])
    for _ in range(20):
        pods = scattered(np.array([300.0, 3.0]), 3.0)
        known = observe(known, n, bad, n, bad, pods, BLOCK)
    noisy, calm = kappa_of(known, n, n, 2 * bad)
    assert noisy < 0.02 < 0.8 < calm


def test_pods_that_differ_for_long_count_as_well() -> None:
    n, bad = np.array([1000]), np.array([10])
    known = observe(
        nothing_known(1),
        n,
        bad,
        n,
        bad,
        Scattered(*(np.array([x]) for x in (3.0, 3.0, 300.0, 3.0, 0.0, 0.0))),
        BLOCK,
    )
    assert kappa_of(known, n, n, 2 * bad)[0] < 0.05


def test_before_anything_is_known_events_of_one_request_share_its_fate() -> None:
    events, requests = np.array([200]), np.array([2])
    nothing = nothing_known(1)
    tokens = kappa_of(nothing, events, events, events, requests=requests)[0]
    alone = kappa_of(nothing, events, events, events)[0]
    assert tokens < 0.01 < 0.2 < alone
    assert kappa_of(nothing, events, events, events, bounds=(0.7, 0.8))[0] == 0.7


def test_a_burst_in_one_pod_of_the_canary_is_one_surprise() -> None:
    """Thirteen bad events where stable has next to none: all of one pod of four, or of all alike. What a pod
    of stable does says less, where stable has most of the traffic."""
    n_c, n_b, bad, none = (np.array([x]) for x in (50, 950, 14, 0.0))
    known, three = nothing_known(1), np.array([3.0])
    burst, alike = (
        kappa_of(known, n_c, n_b, bad, pods=Scattered(none, none, none, none, np.array([chi2]), three))[0]
        for chi2 in (13 * 3.0, 3.0)
    )
    of_stable = kappa_of(
        known, n_c, n_b, bad, pods=Scattered(np.array([36.0]), three, none, none, none, none)
    )
    assert burst == pytest.approx(0.1)
    assert alike > 1 / 4
    assert of_stable[0] == pytest.approx(alike)


def test_what_chance_scatters_in_one_window_costs_little_of_what_it_tells() -> None:
    rng, windows = np.random.default_rng(1), 20_000
    n_c, n_b, bad = (np.full(windows, n) for n in (1000, 9000, 100))
    none, three = np.zeros(windows), np.full(windows, 3.0)
    known = nothing_known(windows)
    many = 1e6 * np.ones(windows)
    known = replace(known, chi2=many, df=many, weighed=many, pairs=1e6 * np.ones(known.pairs.shape))
    pods = Scattered(rng.chisquare(3, windows), three, none, none, rng.chisquare(3, windows), three)
    kappa = kappa_of(known, n_c, n_b, bad, pods=pods)
    assert 0.96 < kappa.mean() < 1
    assert (kappa > 0.999).mean() > 0.9


def pearson(n: int, bad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of rows of pods with `n` events each."""
    share = bad.mean(axis=1) / n
    variance = n * share * (1 - share)
    squares = ((bad - bad.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    chi2 = np.divide(squares, variance, out=np.zeros(len(bad)), where=variance > 0)
    return chi2, np.where(variance > 0, bad.shape[1] - 1.0, 0.0)


@pytest.mark.parametrize(("canary", "stable", "share"), [(4, 70, 0.05), (15, 285, 0.01), (100, 100, 0.02)])
@pytest.mark.parametrize("odds", [1.5, 5.0])
def test_a_window_that_is_discounted_by_its_own_pods_is_no_evidence_by_chance(
    canary: int, stable: int, share: float, odds: float
) -> None:
    """The mean of exp(kappa x log likelihood ratio) is at most 1 where requests are independent."""
    rng, windows = np.random.default_rng(3), 40_000
    x_c, x_b = (rng.binomial(n, share, (windows, 4)) for n in (canary, stable))
    n_c, n_b, none = np.full(windows, 4 * canary), np.full(windows, 4 * stable), np.zeros(windows)
    chi2, df = pearson(stable, x_b)
    pods = Scattered(chi2, df, none, none, *pearson(canary, x_c))
    here, bad = x_c.sum(axis=1), x_c.sum(axis=1) + x_b.sum(axis=1)
    known = overdispersion.with_pods(nothing_known(windows), n_b, bad / (n_c + n_b), pods)
    kappa = kappa_of(known, n_c, n_b, bad, pods=pods, seconds=15.0)
    gain = evidence.odds_increments(n_c, here, n_b, bad - here, np.full((windows, 1), np.log(odds)), none)
    assert np.exp(kappa * gain[:, 0]).mean() < 1


def test_a_rate_that_fails_at_once_is_seen_at_once() -> None:
    """However short the window: what is assumed of an arm's noise divides by four at most."""
    n, bad, many = np.array([100]), np.array([20]), scattered(np.array([300.0]), 300.0)
    known = overdispersion.with_pods(nothing_known(1), n, bad / 200, many)
    assert kappa_of(known, n, n, bad, seconds=0.05)[0] == pytest.approx(1 / 4)


def test_noise_is_assumed_as_of_the_pace_that_is_tolerated_until_minutes_have_told() -> None:
    n, bad = np.array([3000]), np.array([600])
    slower, information = np.log(2.5), 1 / (2 / 300 + 2 / 2700)
    pods = scattered(np.array([3.0]), 3.0)
    known = overdispersion.with_pods(nothing_known(1), n, bad / 6000, scattered(np.array([3e4]), 3e4))
    first = kappa_of(known, n, n, bad, pods=pods, slower=slower)[0]
    assert first == pytest.approx(1 / (1 + (0.4 * slower) ** 2 * information))
    for _ in range(64):
        known = observe(known, n, bad // 2, n, bad // 2, pods, BLOCK)
    assert kappa_of(known, n, n, bad, slower=slower)[0] > 2 * first


def turning(rng: np.random.Generator, minute: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(ROLLOUTS, np.log(3) * (minute >= 50)), np.zeros(ROLLOUTS)


def test_a_canary_that_turns_bad_is_no_noise() -> None:
    assert learned(turning)[1] > 0.75


def early(rng: np.random.Generator, minute: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(ROLLOUTS, np.log(3) * (minute >= 8)), np.zeros(ROLLOUTS)


def test_learning_how_bad_a_canary_is_looks_like_no_fall() -> None:
    """A squared fall is 1 by chance."""
    known = learned(early)[0]
    assert (known.squares.mean(axis=-1) / known.pairs.mean(axis=-1)).max() < 1.2


def test_sums_go_from_step_to_step_with_the_stretch_under_way() -> None:
    rng, known = np.random.default_rng(1), nothing_known(2)
    for _ in range(17):
        bad = rng.integers(0, 5, (2, 2))
        n = np.array([50, 80])
        pods = scattered(np.ones(2), 1.0, 1.0)
        known = observe(known, n, bad[0], 2 * n, bad[1], pods, 25.0)
    assert known.seconds > 0
    assert known.minutes > 0
    assert kept(resumed(kept(known), 2)) == kept(known)
    assert resumed({}, 2).df.tolist() == [0, 0]


@pytest.mark.parametrize("cells", [1, 3])
def test_sums_of_other_rules_are_refused(cells: int) -> None:
    with pytest.raises(ValueError, match="another policy or metric set"):
        resumed(kept(nothing_known(2)), cells)
