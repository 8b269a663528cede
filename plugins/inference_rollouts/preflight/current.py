"""`stable: current`: what serves today is read from what moves, each time a run begins."""

from __future__ import annotations

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import RouteRefused
from inference_rollouts.core.plan.common import CURRENT
from inference_rollouts.core.plan.plan import Plan, parse_plan
from inference_rollouts.rollout.targets import serving_today


def with_current(cluster: Cluster, plan: Plan) -> Plan | None:
    """The plan with the name of what serves today; None where that is its canary already.

    Raises RouteRefused when nobody, or more than one, has the traffic.
    """
    if plan.stable != CURRENT:
        return plan
    serving = sorted(serving_today(cluster, plan))
    if len(serving) != 1:
        who = f"{' and '.join(serving)} have" if serving else f"no {plan.subject} has"
        raise RouteRefused(
            f"`stable: {CURRENT}` says nothing while {who} the traffic that plan {plan.name} moves; let a "
            f"rollout that moves it end, or name the {plan.subject} that serves today. Nothing was written."
        )
    if serving == [plan.canary]:
        return None
    return parse_plan(plan.model_dump(mode="json") | {"stable": serving[0]})
