"""A bad canary loses its traffic at Envoy after the scrape that shows it, and before anybody restores it."""

from __future__ import annotations

import pytest

from bench.reflex import STORM, reflex_of
from bench.shared import SharedLab
from inference_rollouts.rollout.run import Run

pytestmark = pytest.mark.timeout(600)


def test_the_trigger_takes_a_failing_canary_out_of_envoys_routes(shared_lab: SharedLab, canary: Run) -> None:
    reflex = reflex_of(shared_lab.stage, canary, STORM)
    assert 0 < reflex.from_scrape < reflex.from_fault
    assert reflex.from_scrape < reflex.to_restored
