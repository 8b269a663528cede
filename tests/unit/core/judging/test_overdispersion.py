"""Tempering: what counts as noise, and what does not."""

from collections.abc import Callable

import numpy as np
import pytest

from inference_rollouts.core.judging import overdispersion
from inference_rollouts.core.judging.overdispersion import (
    BLOCK,
    Dispersion,
    kept,
    nothing_known,
    resumed,
    without_block,
)

ROLLOUTS, MINUTES = 200, 60
BOUNDS = (0.01, 1.0)
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


def learned(draw: Draw, observations: int = 1, clump: int = 1) -> tuple[Dispersion, float]:
    """What an hour teaches, in windows of a minute or parts of it, and the median kappa after it."""
    rng, known = np.random.default_rng(7), nothing_known(ROLLOUTS)
    n_c, n_b = np.full(ROLLOUTS, 300 // observations), np.full(ROLLOUTS, 900 // observations)
    for minute in range(MINUTES):
        shares = (1 / (1 + np.exp(-(np.log(0.05 / 0.95) + shift))) for shift in draw(rng, minute))
        p_c, p_b = shares
        for _ in range(observations):
            x_c, x_b = rng.binomial(n_c // clump, p_c) * clump, rng.binomial(n_b // clump, p_b) * clump
            chi2 = clump * rng.chisquare(3, ROLLOUTS)
            known = overdispersion.observe(
                known, n_c, x_c, n_b, x_b, chi2, np.full(ROLLOUTS, 3.0), BLOCK / observations
            )
    kappa = overdispersion.kappa(
        known, n_c, n_b, np.full(ROLLOUTS, 60 // observations), BLOCK / observations, BOUNDS
    )
    return known, float(np.median(kappa))


@pytest.mark.parametrize("draw", [alike, drift, lasting])
def test_drift_and_lasting_differences_are_no_noise(draw: Draw) -> None:
    assert learned(draw)[1] > 0.75


def test_noise_of_one_arm_is_learned_as_a_variance_of_the_log_odds() -> None:
    known, kappa = learned(noise)
    assert np.median(known.excess / known.spread) == pytest.approx(0.25, rel=0.4)
    information = 1 / (1 / 15 + 1 / 285 + 1 / 45 + 1 / 855)
    assert kappa == pytest.approx(1 / (1 + 0.25 * information), rel=0.4)


def test_the_interval_hides_no_noise() -> None:
    """Noise that lasts a minute is the same noise when it is looked at every six seconds."""
    assert learned(noise, observations=10)[1] == pytest.approx(learned(noise)[1], rel=0.4)


def test_clumps_are_learned_from_the_pods_of_stable() -> None:
    assert learned(alike, clump=5)[1] < 1 / 4


def test_nothing_known_is_the_assumed_overdispersion() -> None:
    few = np.array([1])
    kappa = overdispersion.kappa(nothing_known(1), 10 * few, 10 * few, few, BLOCK, BOUNDS)
    assert kappa[0] == pytest.approx(overdispersion.ASSUMED_KAPPA, abs=0.02)
    assert overdispersion.kappa(nothing_known(1), few, few, few, BLOCK, (0.7, 0.8))[0] == 0.7


def test_sums_go_from_step_to_step_and_the_open_minute_does_not() -> None:
    rng, known = np.random.default_rng(1), nothing_known(2)
    for _ in range(7):
        bad = rng.integers(0, 5, (2, 2))
        n = np.array([50, 80])
        known = overdispersion.observe(known, n, bad[0], 2 * n, bad[1], np.ones(2), np.ones(2), 25.0)
    assert known.block.seconds > 0
    again = resumed(kept(known), 2)
    for name, values in kept(without_block(known)).items():
        np.testing.assert_allclose(getattr(again, name), values)
    assert again.block.seconds == 0
    assert np.isnan(again.block.last).all()
    assert resumed({}, 2).df.tolist() == [0, 0]


@pytest.mark.parametrize("cells", [1, 3])
def test_sums_of_other_rules_are_refused(cells: int) -> None:
    with pytest.raises(ValueError, match="another policy or metric set"):
        resumed(kept(nothing_known(2)), cells)
