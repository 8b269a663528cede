"""Prometheus knows what the judge needs, and what the steps can see at the traffic of now."""

from __future__ import annotations

import time

from inference_rollouts.clients.prometheus import PrometheusHook
from inference_rollouts.core.errors import ClusterRefused, PlanInvalid
from inference_rollouts.core.judging.counts import missing, window
from inference_rollouts.core.judging.power import markdown, shortfalls, sights, traffic_of
from inference_rollouts.core.plan.plan import AdapterPlan, Plan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.observation import snapshot

TRAFFIC_SEEN = 120.0  # seconds before the rollout from which its power is told


def check_metrics(prometheus: PrometheusHook, frozen: Frozen) -> None:
    """Prometheus answers and knows what the judge needs of stable."""
    plan = frozen.plan
    seen = snapshot(prometheus, frozen, time.time())
    arm = plan.arm(plan.stable)
    if lacking := missing(frozen.metric_set, arm, seen):
        raise ClusterRefused(
            f"The judge would be blind: Prometheus lacks {'; '.join(lacking)}. Scrape {_scraped(plan)} "
            f"and namespace={plan.namespace} (docs/operations.md)."
        )


def _scraped(plan: Plan) -> str:
    """Whose metrics tell the arms apart, and with which labels."""
    if isinstance(plan, AdapterPlan):
        return (
            f"the endpoint pickers of InferencePool {plan.pool}, while clients ask for {plan.alias}, "
            f"with the labels inference_pool={plan.pool}"
        )
    return f"the pods of {plan.stable} with the labels inference_pool={plan.stable}"


def check_power(prometheus: PrometheusHook, frozen: Frozen, now: float) -> tuple[str, list[str]]:
    """What each step can see at the traffic of the last minutes: a table, and what it may miss.

    Raises PlanInvalid when something may be missed and the plan says to refuse then.
    """
    plan, policy = frozen.plan, frozen.plan.analysis
    before, after = (snapshot(prometheus, frozen, at) for at in (now - TRAFFIC_SEEN, now))
    seen = window(frozen.metric_set, plan.arm(plan.canary), plan.arm(plan.stable), before, after)
    usual = traffic_of(frozen.metric_set, [seen] if seen else [])
    found = sights(policy, frozen.metric_set, plan.rungs, usual)
    missed = shortfalls(policy, found)
    if not found and any(rung.compared for rung in plan.rungs):
        missed = [
            f"Nothing was counted in the last {TRAFFIC_SEEN:.0f} s, so nobody knows what the steps can see."
        ]
    if missed and policy.when_blind == "refuse":
        raise PlanInvalid(f"The steps are too short for what analysis.catch asks: {' '.join(missed)}")
    return markdown(policy, found), [] if policy.when_blind == "ignore" else missed
