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
    value: Text = "canary"


class Mirror(Model):
    """A step before the first weight: the canary gets copies of `percent` % of the requests for `bake`.

    Clients get no answer of the canary. The gateway must be able to mirror a share.
    """

    percent: Percent
    bake: Seconds
