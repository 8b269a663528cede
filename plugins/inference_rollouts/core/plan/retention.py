"""How long what a rollout leaves behind keeps running, and when it is taken away."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Model


class Action(StrEnum):
    """What becomes of a pool that serves nobody any more. An adapter is unloaded either way."""

    REMOVE = "remove"
    SCALE_DOWN = "scale-down"


class Retention(Model):
    """Nothing is taken away while it gets requests, or within `longest_stream` of the last one."""

    keep: Seconds | None = Field(
        None, description="how long stable is kept after a promotion; null: until a person retires it"
    )
    keep_rolled_back: Seconds | None = Field(
        3600.0,
        description="how long a rolled-back canary keeps its pods; null: until a person acts",
    )
    longest_stream: Seconds = Field(300.0, description="the longest answer that may still be running")

    def kept(self, action: Action) -> float | None:
        """Seconds from the end of a rollout until this is done; None when only a person does it."""
        return self.keep if action is Action.REMOVE else self.keep_rolled_back
