"""A window in which all that the canary got may be bad by chance: its pods could not tell many surprises."""

import numpy as np
import pytest

from inference_rollouts.core.judging import evidence, running
from inference_rollouts.core.judging.evidence import Array
from inference_rollouts.core.judging.judge import Verdict
from inference_rollouts.core.judging.overdispersion import Scattered
from inference_rollouts.core.judging.rules import rules_of
from inference_rollouts.core.judging.running import AT_ONCE, REST
from tests.support.judging import SET, counted, judged, policy, window

RULES = rules_of(policy(), SET)
ERRORS = RULES.places["errors"].start


def gains(canary: tuple[int, int], stable: tuple[int, int]) -> Array:
    """Of the alternatives of the errors, worse than stable, in one window of these (requests, failures)."""
    cells = len(RULES.cells)
    state = running.nothing_seen(RULES, 1)
    state.alarm[:] = 0.0
    n, bad = (
        np.array(each)[:, None, None].repeat(cells, axis=2) for each in zip(canary, stable, strict=True)
    )
    unknown = Scattered(*[np.zeros((1, cells))] * 6)
    return np.asarray(running.fold(state, RULES, n, bad, unknown, np.array(10.0)).alarm[0, ERRORS])


def exact(canary: tuple[int, int], stable: tuple[int, int]) -> Array:
    effects, null = RULES.worse.effects[ERRORS], RULES.worse.null[ERRORS]
    n_c, x_c, n_b, x_b = (np.array([each]) for each in (*canary, *stable))
    return np.asarray(evidence.odds_increments(n_c, x_c, n_b, x_b, effects[None], np.array([null]))[0])


@pytest.mark.parametrize(("canary", "stable"), [((30, 15), (250, 25)), ((80, 80), (250, 125))])
def test_where_chance_would_hardly_make_all_bad_all_counts_whole(
    canary: tuple[int, int], stable: tuple[int, int]
) -> None:
    """Groups of five: six of which 14 % are bad, sixteen of which 62 % are."""
    np.testing.assert_allclose(gains(canary, stable), exact(canary, stable))


@pytest.mark.parametrize("few", [1, 3])
def test_what_is_no_surprise_counts_whole(few: int) -> None:
    whole = exact((few, few), (250, 225))
    assert (whole < AT_ONCE).all()
    np.testing.assert_allclose(gains((few, few), (250, 225)), whole)


def test_of_a_surprise_a_part_counts() -> None:
    whole = exact((30, 30), (250, 160))
    surprising = whole > AT_ONCE
    assert surprising.sum() >= 3
    np.testing.assert_allclose(
        gains((30, 30), (250, 160))[surprising], AT_ONCE + REST * (whole[surprising] - AT_ONCE)
    )


def test_a_worse_canary_never_has_less_against_it() -> None:
    """As many bad ones of both together: 190."""
    told = np.array([gains((30, bad), (250, 190 - bad)) for bad in range(31)])
    assert (np.diff(told, axis=0) > 0).all()


def test_a_canary_that_answers_nothing_is_seen_within_two_windows() -> None:
    broken = [
        window(
            10.0 * i,
            {"errors": counted(15, 15), "ttft": counted(15, 4, 1)},
            {"errors": counted(285, 3), "ttft": counted(285, 70, 14)},
        )
        for i in range(2)
    ]
    judgement = judged(broken, policy=policy(guardrails={"storm_requests": 1000}))
    assert judgement.verdict is Verdict.ROLLBACK
