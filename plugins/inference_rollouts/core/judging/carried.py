"""What one step's judge hands on to the next. Every task knows judgements, few how they come about."""

from __future__ import annotations

from pydantic import Field

from inference_rollouts.core.values import Value


class Carried(Value):
    """The evidence of the steps so far, for the next step's judge; `Carried()` begins a rollout.

    `alarm` is W of every test and alternative (None: minus infinity), `good` the promotion's log likelihood
    ratios, `counted` what both arms counted on compared steps (events, bad ones), by cell, `dispersion` the
    sums behind kappa, `unbegun` the prior weight of onsets yet to come, `baked` the
    counted seconds of the step under way, `stable` what stable counted on the last compared step (events, bad
    ones), by cell, `crashes` how often the canary's containers crashed. Of use only with the same policy and
    metric set.
    """

    steps: int = 0
    alarm: tuple[tuple[float | None, ...], ...] = ()
    good: tuple[float, ...] = ()
    counted: tuple[tuple[int, ...], ...] = ()
    dispersion: dict[str, tuple[float, ...]] = Field(default={})
    unbegun: float = 1.0
    baked: float = 0.0
    stable: tuple[tuple[int, ...], ...] = ()
    crashes: int = 0
