"""How long what a rollout leaves behind keeps running, and when it is taken away."""

from __future__ import annotations

from enum import StrEnum

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Model


class Action(StrEnum):
    """What becomes of a pool that serves nobody any more. An adapter is unloaded either way."""

    REMOVE = "remove"
    SCALE_DOWN = "scale-down"


class Retention(Model):
    """Nothing is taken away while it gets requests, or within `longest_stream` of the last one."""

    keep: Seconds | None = None
    """How long stable is kept after a promotion; null: until a person retires it. Default: null, as it is
    the way back."""
    keep_rolled_back: Seconds | None = 3600.0
    """How long a rolled-back canary keeps its pods; null: until a person acts. Default: 1h, time to look at
    it on accelerators that serve nobody."""
    longest_stream: Seconds = 300.0
    """The longest answer that may still be running: a pool is idle when nothing has run there for so long.
    Default: 5m, longer than most streams."""

    def kept(self, action: Action) -> float | None:
        """Seconds from the end of a rollout until this is done; None when only a person does it."""
        return self.keep if action is Action.REMOVE else self.keep_rolled_back
