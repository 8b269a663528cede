"""The kinds of rollouts: to a second pool, or of an adapter inside one."""

from __future__ import annotations

from typing import assert_never

from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan
from inference_rollouts.rollout.run import RolloutKind


def kind_of(plan: Plan) -> RolloutKind:
    """What is done differently for this plan."""
    # Imported on use: what a task needs until it is executed is in the plan.
    match plan:
        case PoolPlan():
            from inference_rollouts.kinds.pool import PoolRollout

            return PoolRollout(plan)
        case AdapterPlan():
            from inference_rollouts.kinds.adapter import AdapterRollout

            return AdapterRollout(plan)
        case _:
            assert_never(plan)
