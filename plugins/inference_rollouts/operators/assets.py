"""What a rollout leaves behind, as Airflow assets: their events start the retirement DAG of the plan."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.definitions.context import Context

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.plan.versions import Event
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


def heard(plan: Plan) -> list[Asset]:
    """The assets whose events a rollout reads: where versions come from, and what it comes after."""
    sources = [plan.versions.source] if plan.versions else []
    told = [Asset(source.asset) for source in sources if isinstance(source, Event)]
    return [*told, *map(ended_well, plan.after)]


def ended_well(plan: str) -> Asset:
    """An event for every rollout that was promoted, or found nothing new: what comes after it may start."""
    return Asset(f"inference-rollouts/{plan}/ended-well")


def well(plan: str) -> AssetAlias:
    """Stands for that asset, which not every run has an event for."""
    return AssetAlias(f"inference-rollouts/{plan}/well")


def announce_good_end(context: Context, plan: str, rolled_back: float = 0.0) -> None:
    """Say that a rollout ended well, and when it was due (Unix seconds).

    It may have passed a version over that was `rolled_back` then (Unix seconds; 0: none).
    """
    due = context["dag_run"].run_after.timestamp()
    extra: dict[str, Any] = {"due": due, "rolled_back": rolled_back, "run": run_identity(context)}
    context["outlet_events"][well(plan)].add(ended_well(plan), extra=extra)


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
