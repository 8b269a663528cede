"""What a rollout cost: requests that stable would not have failed, and hours of accelerators."""

from __future__ import annotations

from collections.abc import Sequence

from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.window_counts import WindowCounts
from inference_rollouts.core.plan.plan import Plan, PoolPlan
from inference_rollouts.core.values import Value


class Cost(Value):
    """`requests` that the canary got, `failed` of them, and `excess`: how many more than by stable's share.

    `accelerator_hours` are those that the canary's pods held; None where it has no pods of its own.
    """

    requests: int
    failed: int
    excess: float
    accelerator_hours: float | None


def cost_of(plan: Plan, metric_set: MetricSet, windows: Sequence[WindowCounts], seconds: float) -> Cost:
    """Of the windows of all steps; `seconds` is for how long the canary's pods were there."""
    counts = [window.counts[metric_set.errors] for window in windows if metric_set.errors in window.counts]
    requests, failed = sum(c.canary.n for c in counts), sum(c.canary.bad[0] for c in counts)
    compared, usual = sum(c.stable.n for c in counts), sum(c.stable.bad[0] for c in counts)
    expected = requests * usual / compared if compared else 0.0
    own = plan.accelerators_needed * seconds / 3600 if isinstance(plan, PoolPlan) else None
    return Cost(requests=requests, failed=failed, excess=max(0.0, failed - expected), accelerator_hours=own)
