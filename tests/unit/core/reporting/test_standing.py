"""How a run stands, in one word."""

from __future__ import annotations

from typing import Any

import pytest

from inference_rollouts.core.reporting.seen import SeenRun
from inference_rollouts.core.reporting.standing import Standing, standing_of


def stands(state: str = "success", dry: bool = False, **left: Any) -> Standing:
    xcoms = {("report" if key == "outcome" else "preflight", key): value for key, value in left.items()}
    return standing_of(SeenRun("rollout_llm", "r", state, dry=dry, xcoms=xcoms), None, watched=None)


@pytest.mark.parametrize(
    ("left", "standing"),
    [
        ({"outcome": "promoted"}, Standing.PROMOTED),
        ({"outcome": "rolled back", "state": "failed"}, Standing.ROLLED_BACK),
        ({"summary": "refused", "state": "failed"}, Standing.NOT_STARTED),
        ({"summary": "dry run", "dry": True}, Standing.DRY_RUN),
        ({"state": "failed"}, Standing.OVER),
        ({"state": "running"}, Standing.PREPARING),
    ],
)
def test_an_end_is_told_by_what_was_left(left: dict[str, Any], standing: Standing) -> None:
    assert stands(**left) is standing
