"""A bad canary loses its traffic at Envoy, moments after the scrape that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.reflex import STORM, theatre

pytestmark = pytest.mark.timeout(200)


def test_the_trigger_takes_a_failing_canary_out_of_envoys_routes(tmp_path: Path) -> None:
    with theatre(tmp_path / "lab") as stage:
        reflex = stage.run(STORM)
    assert 0 < reflex.from_scrape <= 5
    assert reflex.from_fault <= 20
