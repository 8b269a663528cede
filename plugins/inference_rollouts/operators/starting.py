"""Whether a run that nobody started by hand is to begin now: not too late, and not before what it follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.definitions.context import Context

from inference_rollouts.core.plan.plan import Plan
from inference_rollouts.core.schedule.waves import waits_for
from inference_rollouts.operators.assets import ended_well
from inference_rollouts.operators.base import BY_SCHEDULE, too_late

BY_ITSELF = BY_SCHEDULE | {"asset_triggered"}  # types of runs that nobody started
NOT_NOW = "not_now"  # the XCom that says why a run did not begin


def not_now(context: Context, plan: Plan, now: float) -> str:
    """Why a run is not to go on; empty where it is, and for one that somebody started by hand."""
    return too_late(context, plan, now) or _waits(context, plan, now)


def _waits(context: Context, plan: Plan, now: float) -> str:
    """What it still waits for: the state counts, whatever event has started the run."""
    if not plan.after or context["dag_run"].run_type not in BY_ITSELF:
        return ""
    dues: dict[str, float] = {}
    for name in plan.after:
        events = context["inlet_events"][ended_well(name)].ascending(False).limit(1)
        for event in events:
            extra: Mapping[str, Any] = event.extra or {}
            if now - float(extra.get("rolled_back") or 0.0) > plan.after_within:
                dues[name] = float(extra["due"])
    return waits_for(plan.after, dues, plan.after_within, now)
