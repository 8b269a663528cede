"""How figures are told."""

from __future__ import annotations

import math

import pytest

from inference_rollouts.core.judging.judgement import figure, lasting


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.976, "0.976"),
        (41.27, "41.3"),
        (541.69, "542"),
        (5212.0, "5,210"),
        (25000.4, "25,000"),
        (3e7, "3e+07"),
    ],
)
def test_figures_have_three_digits_that_matter(value: float, words: str) -> None:
    assert figure(value) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4.4, "4 s"),
        (300, "5 min"),
        (10_800, "3 h"),
        (770_000, "9 days"),
        (1e12, "more than a year"),
        (math.inf, "for ever"),
    ],
)
def test_times_are_told_in_units_that_people_can_picture(seconds: float, words: str) -> None:
    assert lasting(seconds) == words
