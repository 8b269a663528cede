"""By how much evidence that the canary is worse than stable may exceed that it is worse than tolerated."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from inference_rollouts.core.judging import running
from inference_rollouts.core.judging.metrics import parse_metric_set
from inference_rollouts.core.judging.rules import rules_of
from tests.support.judging import SMALL, policy

THRESHOLDS = [0.5, 1, 2]
RATE, LATENCY = SMALL["metrics"]
RULES = rules_of(
    policy(),
    parse_metric_set(SMALL | {"metrics": [RATE, LATENCY | {"thresholds": THRESHOLDS, "objective": None}]}),
)
SLOW = RULES.places["ttft"]


def counted(worse: Sequence[float], beyond: Sequence[float]) -> NDArray[np.float64]:
    """Log evidence of the latency's comparisons, by threshold, of these log likelihood ratios."""
    state, cells = running.nothing_seen(RULES, 1), len(RULES.cells)
    state.alarm[:] = 0.0
    state.alarm[0, SLOW] = np.array(worse)[:, None]
    state.alarm[0, SLOW.start + cells : SLOW.stop + cells] = np.array(beyond)[:, None]
    return np.asarray(running.log_evidence(state, RULES, np.array([0.0]))[0, SLOW])


def together(log_e: Sequence[float] | NDArray[np.float64]) -> float:
    return float(np.log(np.exp(np.array(log_e)).sum()))


@pytest.mark.parametrize("beyond", [(9.0, -5.0, -5.0), (-5.0, -5.0, 3.0), (1.0, 1.0, 1.0)])
def test_the_thresholds_of_a_latency_share_what_shows_more_than_is_tolerated(beyond: list[float]) -> None:
    """Each threshold tells less against what is tolerated than it tells together with the others."""
    worse = (12.0, 11.0, 0.0)
    allowed = counted(worse, beyond)
    assert together(allowed) == pytest.approx(
        min(together(worse), together(beyond) + RULES.slack[SLOW.start])
    )
    assert np.ptp(np.array(worse) - allowed) < 1e-9
    assert (allowed <= np.array(worse) + 1e-9).all()


def test_what_is_not_shown_to_be_more_than_is_tolerated_counts_little() -> None:
    assert together(counted((50.0, 40.0, 30.0), (0.0, 0.0, 0.0))) == pytest.approx(
        np.log(len(THRESHOLDS)) + RULES.slack[SLOW.start]
    )


def test_metrics_lend_each_other_nothing() -> None:
    state = running.nothing_seen(RULES, 1)
    state.alarm[:] = 20.0
    state.alarm[0, len(RULES.cells) + RULES.places["errors"].start] = -3.0
    log_e = running.log_evidence(state, RULES, np.array([0.0]))[0]
    errors = RULES.places["errors"].start
    assert log_e[errors] == pytest.approx(-3.0 + RULES.slack[errors])
    assert log_e[SLOW] == pytest.approx([20.0] * len(THRESHOLDS))
