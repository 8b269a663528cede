"""What a plan keeps, and how long."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.plan.retention import Action, Retention


@pytest.mark.parametrize(
    ("retention", "removed", "scaled"),
    [
        ({}, None, 3600.0),
        ({"keep": "2h", "keep_rolled_back": None}, 7200.0, None),
        ({"keep": 0}, 0.0, 3600.0),
    ],
)
def test_retention_says_what_goes_by_itself_and_when(
    retention: dict[str, Any], removed: float | None, scaled: float | None
) -> None:
    words = Retention(**retention)
    assert (words.kept(Action.REMOVE), words.kept(Action.SCALE_DOWN)) == (removed, scaled)
