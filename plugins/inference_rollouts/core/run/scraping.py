"""What Prometheus has to scrape for the judge, in words."""

from __future__ import annotations

from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.plan.plan import Kind, Plan


def scraped(plan: Plan, metric_set: MetricSet, side: str) -> str:
    """Whose metrics tell `side` (stable or canary) apart, and with which labels."""
    if metric_set.arm or metric_set.exporters == "gateways":
        arm = metric_set.arm_of(plan.arm(side))
        return f"what exports {metric_set.name}; its label {arm.label} has to be {arm.value}"
    whose = (
        "the endpoint pickers behind " if metric_set.exporters == "pickers" and plan.kind != Kind.LORA else ""
    )
    return f"{whose}{plan.scraped(side)} and namespace={plan.namespace}"
