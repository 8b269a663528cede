"""Tempering: what counts as noise, and what does not."""

from collections.abc import Callable

import numpy as np
import pytest

from inference_rollouts.core.judging import overdispersion
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
    shape = np.ones(chi2.shape)
    return Scattered(chi2, df * shape, lasting_chi2 * shape, 0 * shape)


def learned(draw: Draw, observations: int = 1, clump: int = 1) -> tuple[Dispersion, float]:
    """What an hour teaches, in windows of a minute or parts of it, and the median kappa after it."""
    rng, known = np.random.default_rng(7), nothing_known(ROLLOUTS)
    n_c, n_b = np.full(ROLLOUTS, 300 // observations), np.full(ROLLOUTS, 900 // observations)
    for minute in range(MINUTES):
        p_c, p_b = (1 / (1 + np.exp(-(np.log(0.05 / 0.95) + shift))) for shift in draw(rng, minute))
        for _ in range(observations):
            x_c, x_b = rng.binomial(n_c // clump, p_c) * clump, rng.binomial(n_b // clump, p_b) * clump
            pods = scattered(clump * rng.chisquare(3, ROLLOUTS), 3.0)
            known = overdispersion.observe(known, n_c, x_c, n_b, x_b, pods, BLOCK / observations)
    kappa = overdispersion.kappa(
        known, n_c, n_b, np.full(ROLLOUTS, 60 // observations), n_c + n_b, BLOCK / observations, BOUNDS
    )
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
        known = overdispersion.observe(
            known, n, np.array([1]), n, np.array([bad]), scattered(np.array([chi2]), 3.0), BLOCK
        )
    assert overdispersion.between_pods(known)[0] > 10


def test_where_windows_are_alike_each_is_a_test() -> None:
    known, n, bad = nothing_known(1), np.array([1000]), np.array([10])
    for _ in range(20):
        known = overdispersion.observe(known, n, bad, n, bad, scattered(np.array([15.0]), 3.0), BLOCK)
    beyond = 300 - 60 - np.sqrt(2 * 60)
    assert overdispersion.between_pods(known)[0] == pytest.approx(1 + (beyond + 2 * 2) / (60 + 2))


@pytest.mark.parametrize("worse", [1, 5])
def test_few_events_make_no_noise(worse: int) -> None:
    """A canary with 60 requests a minute, a third of a percent of them bad, or five times that from the
    start."""
    rng, known = np.random.default_rng(7), nothing_known(ROLLOUTS)
    n_c, n_b = np.full(ROLLOUTS, 60), np.full(ROLLOUTS, 1140)
    for _ in range(16):
        x_c, x_b = rng.binomial(n_c, worse / 300), rng.binomial(n_b, 1 / 300)
        pods = scattered(rng.chisquare(3, ROLLOUTS), 3.0)
        known = overdispersion.observe(known, n_c, x_c, n_b, x_b, pods, BLOCK)
    kappa = overdispersion.kappa(known, n_c, n_b, np.full(ROLLOUTS, 8), n_c + n_b, BLOCK, BOUNDS)
    assert kappa.mean() > 0.85


def test_each_threshold_has_a_dispersion_of_its_own() -> None:
    known, n, bad = nothing_known(2), np.array([1000, 1000]), np.array([10, 10])
    for _ in range(20):
        pods = scattered(np.array([300.0, 3.0]), 3.0)
        known = overdispersion.observe(known, n, bad, n, bad, pods, BLOCK)
    noisy, calm = overdispersion.kappa(known, n, n, 2 * bad, 2 * n, BLOCK, BOUNDS)
    assert noisy < 0.02 < 0.8 < calm


def test_pods_that_differ_for_long_count_as_well() -> None:
    n, bad = np.array([1000]), np.array([10])
    known = overdispersion.observe(
        nothing_known(1), n, bad, n, bad, Scattered(*(np.array([x]) for x in (3.0, 3.0, 300.0, 3.0))), BLOCK
    )
    assert overdispersion.kappa(known, n, n, 2 * bad, 2 * n, BLOCK, BOUNDS)[0] < 0.05


def test_before_anything_is_known_events_of_one_request_share_its_fate() -> None:
    events, requests = np.array([20_000]), np.array([100])
    nothing = nothing_known(1)
    tokens = overdispersion.kappa(nothing, events, events, events, requests, BLOCK, BOUNDS)[0]
    alone = overdispersion.kappa(nothing, events, events, events, 2 * events, BLOCK, BOUNDS)[0]
    assert tokens < 0.01 < 0.2 < alone
    assert overdispersion.kappa(nothing, events, events, events, events, BLOCK, (0.7, 0.8))[0] == 0.7


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
        known = overdispersion.observe(known, n, bad[0], 2 * n, bad[1], pods, 25.0)
    assert known.seconds > 0
    assert known.minutes > 0
    assert kept(resumed(kept(known), 2)) == kept(known)
    assert resumed({}, 2).df.tolist() == [0, 0]


@pytest.mark.parametrize("cells", [1, 3])
def test_sums_of_other_rules_are_refused(cells: int) -> None:
    with pytest.raises(ValueError, match="another policy or metric set"):
        resumed(kept(nothing_known(2)), cells)
