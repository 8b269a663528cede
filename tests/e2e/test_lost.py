"""Requests of a live canary that begin well and do not end well: 200 to every counter of statuses."""

from __future__ import annotations

import pytest

from bench.shared import SharedLab
from inference_rollouts.rollout.run import Run
from tests.support.e2e.judged import BAKE, judged

pytestmark = pytest.mark.timeout(600)

SHARE = 0.15
SHORT = 20.0  # seconds of a step that is to pass
IMPATIENCE = 4.0  # seconds after which clients leave without the rest of their answer

SEEN_BY = {  # a connection that breaks is seen from both of its ends, and either may be proven first
    "stall": {"unfinished"},
    "cut": {"unfinished", "envoy_cut_off"},
    "engine_error": {"unfinished"},
}


@pytest.fixture
def impatient(shared_lab: SharedLab, canary: Run) -> SharedLab:
    """The lab, with a canary that is warm, and clients who do not wait for long."""
    canary.kind.warm_up(canary)
    shared_lab.stage.set_patience(IMPATIENCE)
    return shared_lab


@pytest.mark.parametrize("fault", ["stall", "cut", "engine_error"])
def test_a_canary_that_loses_answers_after_their_headers(
    impatient: SharedLab, canary: Run, fault: str
) -> None:
    """Its engine stalls until the client leaves; its connections break; errors come inside the stream."""
    stage = impatient.stage
    final, seconds = judged(stage, canary, lambda: stage.fault(canary.plan.canary, **{fault: SHARE}))
    assert final["verdict"] == "rollback"
    assert final["blame"] in SEEN_BY[fault]
    rows = {row["metric"]: row for row in final["rows"]}
    assert rows[final["blame"]]["title"] in final["reason"]
    assert rows["unfinished"]["canary"]["bad"] > 0
    assert seconds < BAKE


def test_a_canary_whose_answers_all_end_well_passes(impatient: SharedLab, canary: Run) -> None:
    final, _ = judged(impatient.stage, canary, lambda: None, SHORT)
    assert final["verdict"] == "advance", final["reason"]
