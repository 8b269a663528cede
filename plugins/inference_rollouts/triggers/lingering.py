"""What Airflow calls, in the triggerer, when a run has not ended in the time that it may take."""

from __future__ import annotations

import asyncio
from typing import Any

from airflow.sdk.configuration import conf

from inference_rollouts.core.plan.notifications import Occasion
from inference_rollouts.core.plan.plan import parse_plan
from inference_rollouts.core.reporting.links import run_page
from inference_rollouts.core.reporting.told import Mark
from inference_rollouts.core.reporting.transition import as_asked, of_plan
from inference_rollouts.hooks.notifiers import send
from inference_rollouts.rollout.telling import deliver


async def lingers(plan: dict[str, Any], context: dict[str, Any]) -> None:
    """Tell that a run lingers. Airflow's deadline may come after the end of a run: that is none any more.

    `context` is what Airflow knows of run and deadline. Airflow calls it once, and again if it died.
    """
    run, parsed = context["dag_run"], parse_plan(plan)
    if run.get("state") in ("success", "failed"):
        return
    since = run.get("queued_at") or run.get("run_after") or "long ago"
    name = f"{run['dag_id']}/{run['dag_run_id']}"
    link = run_page(conf.get("api", "base_url", fallback="") or "", run["dag_id"], run["dag_run_id"])
    why = f"It has been in the queue or running since {since}."
    asked = as_asked(parsed, run.get("conf") or {})
    told = of_plan(asked, Occasion.LINGERS, name, name, link, why)
    await asyncio.to_thread(deliver, [told], parsed.notifications, Forgetful(), send)


class Forgetful:
    """Marks of who tells once and ends."""

    def get(self, name: str) -> Mark | None:
        """None."""

    def set(self, name: str, mark: Mark) -> None:
        """Nothing."""
