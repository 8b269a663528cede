"""What one step's judge hands on to the next. Every task knows judgements, few how they come about."""

from __future__ import annotations

from pydantic import Field

from inference_rollouts.core.values import Value


class Carried(Value):
    """The evidence of the steps so far, for the next step's judge; `Carried()` begins a rollout.

    `alarm` is W of every test and alternative (None: minus infinity), `dispersion` the sums behind kappa. Of
    use only with the same policy and metric set.
    """

    steps: int = 0
    alarm: tuple[tuple[float | None, ...], ...] = ()
    dispersion: dict[str, tuple[float, ...]] = Field(default={})
