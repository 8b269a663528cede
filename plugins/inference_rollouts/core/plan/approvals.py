"""Where a plan wants a person's approval."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Model, Percent


class Approvals(Model):
    """Before which weights a person must agree, and what their silence means."""

    steps: tuple[Percent, ...] = ()
    """Weights in % that the canary reaches only after a person's yes, above the first step's. Default:
    none."""
    timeout: Seconds = 12 * 3600.0
    """How long an answer is waited for. Default: 12h, so that a night passes."""
    remind: Annotated[Seconds, Field(gt=0)] = 3600.0
    """After how long without an answer people are reminded, once; after twice as long it is escalated.
    Default: 1h."""
    on_timeout: Literal["rollback", "advance"] = "rollback"
    """What silence means; `advance` holds only where the judge had no doubt. Default: `rollback`, as silence
    is no yes."""
    retire: bool = False
    """Whether a person is asked also before the old pool is retired. Default: no, as what goes is idle."""

    def due(self, weight: int, following: int) -> bool:
        """Whether going from `weight` to `following` (in %) needs a person; no big step jumps over one."""
        return any(weight < step <= following for step in self.steps)
