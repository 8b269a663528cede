"""The event of a trigger says for which rollout it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.errors import RolloutError, RouteDrift
from inference_rollouts.core.run.frozen import Frozen

EVENT_TOKEN = "token"  # the key in an event; one without it is Airflow's own


def event_of(frozen: Frozen, content: Mapping[str, Any]) -> TriggerEvent:
    """An event for the rollout that `frozen` is."""
    return TriggerEvent({**content, EVENT_TOKEN: frozen.token})


def failure(error: Exception) -> dict[str, Any]:
    """What an event says of an error; `error_of` makes it an error again."""
    return {"error": str(error), "drift": isinstance(error, RouteDrift)}


def error_of(event: Mapping[str, Any]) -> RolloutError:
    """The error that an event tells of."""
    kind = RouteDrift if event.get("drift") else RolloutError
    return kind(event["error"])
