"""Where a plan wants a person's word."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Model, Percent


class Approvals(Model):
    """Before which weights a person must agree, and what their silence means."""

    steps: tuple[Percent, ...] = Field((), description="weights that the canary reaches only with a yes")
    timeout: Seconds = Field(12 * 3600.0, description="how long an answer is waited for")
    on_timeout: Literal["rollback", "advance"] = Field(
        "rollback", description="without an answer; advance holds only where the judge had no doubt"
    )
    retire: bool = Field(False, description="ask also before the old pool is retired")

    def due(self, weight: int, following: int) -> bool:
        """Whether going from `weight` to `following` (in %) needs a person; no big step jumps over one."""
        return any(weight < step <= following for step in self.steps)
