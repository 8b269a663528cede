"""Whom a plan tells of what, and by which of Airflow's connections."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from inference_rollouts.core.values import Model, Text


class Occasion(StrEnum):
    """What people are told of, each once a step."""

    STARTED = "started"
    """Preflight found nothing wrong, and the rollout began."""
    REFUSED = "refused"
    """It ended before the canary had traffic: preflight refused it, or it was not ready in time."""
    RAISED = "raised"
    """The canary was given more traffic."""
    PAUSED = "paused"
    """A person holds it where it is."""
    ASKED = "asked"
    """A person is to answer a question."""
    REMINDED = "reminded"
    """The question was not answered for `approvals.remind`."""
    ESCALATED = "escalated"
    """Nor for as long again."""
    ALARM = "alarm"
    """The judge took the canary's traffic away."""
    DRIFT = "drift"
    """Somebody else changed what it moves; it stops and goes back."""
    UNWATCHED = "unwatched"
    """Nobody of Airflow watches it any more; a guardian does."""
    LINGERS = "lingers"
    """The run takes longer than it ever should."""
    PROMOTED = "promoted"
    """All traffic is on the canary."""
    ROLLED_BACK = "rolled-back"
    """The route is as it was found."""
    ASTRAY = "astray"
    """It is neither promoted nor as it was found: a person has to see to it."""
    DIGEST = "digest"
    """The morning report of all plans, once to each address, whichever plans name it."""


class Means(StrEnum):
    """How people are told."""

    WEBHOOK = "webhook"
    """A CloudEvent, as JSON, to an HTTP connection."""
    EMAIL = "email"
    """By a connection of type `smtp`."""
    SLACK = "slack"
    """By a connection of type `slack`."""
    PAGERDUTY = "pagerduty"
    """By a connection of type `pagerduty_events`."""
    APPRISE = "apprise"
    """By a connection of type `apprise`."""


class Notification(Model):
    """One way in which people hear of a rollout."""

    by: Means
    """How: `webhook`, `email`, `slack`, `pagerduty` or `apprise`; all but the first two by Airflow's provider
    of that name."""
    connection: Text
    """The id of Airflow's connection, where address and secrets are."""
    to: Annotated[tuple[Text, ...], Field(max_length=50)] = ()
    """Addresses of `email`, or the channel of `slack`. Default: none; the others' connections say it."""
    of: Annotated[tuple[Occasion, ...], Field(min_length=1)] = tuple(
        each for each in Occasion if each is not Occasion.DIGEST
    )
    """Of what. Default: of everything but the morning report."""

    @model_validator(mode="after")
    def _addressed(self) -> Self:
        least, most = {Means.EMAIL: (1, 50), Means.SLACK: (1, 1)}.get(self.by, (0, 0))
        if not least <= len(self.to) <= most:
            wants = {Means.EMAIL: "the addresses", Means.SLACK: "one channel"}.get(self.by, "nothing")
            raise ValueError(f"`to` must be {wants} for {self.by.value}")
        return self
