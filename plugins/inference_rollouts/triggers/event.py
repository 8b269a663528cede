"""The event of a trigger says for which rollout it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.triggers.base import TriggerEvent

from inference_rollouts.core.run.frozen import Frozen

EVENT_TOKEN = "token"  # the key in an event; one without it is Airflow's own


def event_of(frozen: Frozen, content: Mapping[str, Any]) -> TriggerEvent:
    """An event for the rollout that `frozen` is."""
    return TriggerEvent({**content, EVENT_TOKEN: frozen.token})
