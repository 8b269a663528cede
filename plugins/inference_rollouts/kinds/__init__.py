"""The kinds of rollouts: to a second pool, or of an adapter inside one."""

from __future__ import annotations

from typing import assert_never

from inference_rollouts.core.plan.plan import AdapterPlan, Plan, PoolPlan
from inference_rollouts.kinds.adapter import AdapterRollout
from inference_rollouts.kinds.pool import PoolRollout
from inference_rollouts.rollout.run import RolloutKind


def kind_of(plan: Plan) -> RolloutKind:
    """What is done differently for this plan."""
    match plan:
        case PoolPlan():
            return PoolRollout(plan)
        case AdapterPlan():
            return AdapterRollout(plan)
        case _:
            assert_never(plan)
