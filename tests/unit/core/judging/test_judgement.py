"""How figures are told."""

from __future__ import annotations

import pytest

from inference_rollouts.core.judging.judgement import figure


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
