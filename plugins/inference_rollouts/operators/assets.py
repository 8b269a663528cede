"""What a rollout leaves behind, as Airflow assets: their events start the retirement DAG of the plan."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.plan.retention import Action
from inference_rollouts.operators.base import run_identity


def promoted(plan: str) -> Asset:
    """An event for every promotion: the old pool (or adapter) serves nobody any more."""
    return Asset(f"inference-rollouts/{plan}/promoted")


def rolled_back(plan: str) -> Asset:
    """An event for every rollback: the canary serves nobody any more."""
    return Asset(f"inference-rollouts/{plan}/rolled-back")


def ended(plan: str) -> AssetAlias:
    """Stands for the one of both that the end of a rollout turns out to be."""
    return AssetAlias(f"inference-rollouts/{plan}/ended")


def announce_promotion(context: Context, plan: str, stable: str) -> None:
    """Say that stable was left just now."""
    _announce(context, plan, promoted(plan), stable, Action.REMOVE)


def announce_rollback(context: Context, plan: str, canary: str) -> None:
    """Say that the canary was left just now."""
    _announce(context, plan, rolled_back(plan), canary, Action.SCALE_DOWN)


def _announce(context: Context, plan: str, asset: Asset, name: str, action: Action) -> None:
    extra: dict[str, Any] = {
        "name": name,
        "action": action.value,
        "since": time.time(),
        "run": run_identity(context),
    }
    context["outlet_events"][ended(plan)].add(asset, extra=extra)
