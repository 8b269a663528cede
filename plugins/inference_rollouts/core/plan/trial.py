"""How a plan lets a canary be tried before it gets traffic: by people, and by copies of requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inference_rollouts.core.durations import Seconds
from inference_rollouts.core.values import Model, Percent, Text

HeaderName = Annotated[str, Field(max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$")]


class Preview(Model):
    """Requests that carry this header go to the canary, from when it is ready until the rollout ends."""

    header: HeaderName = "x-preview"
    """The header's name. No rule of the routes may match it already."""
    value: Text = "canary"
    """The header's value; whoever knows it may use the canary."""


class Mirror(Model):
    """A step before the first weight: the canary gets copies of `percent` % of the requests for `bake`.

    Clients get no answer of the canary. The gateway must be able to mirror a share.
    """

    percent: Percent
    """The share of the requests, in %, that is copied to the canary; it answers them at full cost."""
    bake: Seconds
    """How long the canary must look good on copies."""
