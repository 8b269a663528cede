"""What a rollout leaves behind, as Airflow assets: their events start the retirement DAG of the plan."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.plan.retention import Action
from inference_rollouts.operators.base import run_identity


def promoted(plan: str) -> Asset:
    """An event for every promotion: the old pool (or adapter) serves nobody any more."""
    return Asset(f"inference-rollouts/{plan}/promoted")


def rolled_back(plan: str) -> Asset:
    """An event for every rollback: the canary serves nobody any more."""
    return Asset(f"inference-rollouts/{plan}/rolled-back")


def announce(context: Context, outlets: Sequence[Any], name: str, action: Action) -> None:
    """Say on the outlets of a task that `name` was left just now, and what becomes of it."""
    for asset in outlets:
        context["outlet_events"][asset].extra = {
            "name": name,
            "action": action.value,
            "since": time.time(),
            "run": run_identity(context),
        }
