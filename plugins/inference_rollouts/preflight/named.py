"""What a plan names that is in other files: metric sets, calendars and other plans. No cluster is asked."""

from __future__ import annotations

from collections.abc import Collection

from inference_rollouts.clients.include import load_metric_set
from inference_rollouts.core.errors import PlanInvalid
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.rules import problems
from inference_rollouts.core.plan.plan import Kind, Plan
from inference_rollouts.preflight.calendar import calendar_of


def require_named(plan: Plan, plans: Collection[str] | None = None) -> None:
    """Raises PlanInvalid where something is missing, is not valid, or does not fit the plan.

    `plans`: the names of all there are; None where that is not known.
    """
    metric_set_of(plan)
    calendar_of(plan)
    others = {*plan.after, *([plan.versions.after] if plan.versions and plan.versions.after else [])}
    if plans is not None and (missing := sorted(others - set(plans))):
        raise PlanInvalid(f"The plan is invalid: after: there is no plan {missing[0]!r}.")


def metric_set_of(plan: Plan) -> MetricSet:
    """The metric set by which a plan judges. Raises PlanInvalid when its policy does not fit."""
    metric_set = load_metric_set(*plan.metrics)
    pools_alone = [each.name for each in metric_set.sets if each.arm or each.exporters == "gateways"]
    if plan.kind is Kind.LORA and pools_alone:
        raise PlanInvalid(
            f"The plan is invalid: metrics: {pools_alone[0]!r} tells pools apart; both adapters are in one."
        )
    if mistakes := problems(plan.analysis, metric_set):
        raise PlanInvalid(f"The plan is invalid: {' '.join(mistakes)}")
    return metric_set
