"""The requests inside the servers of both arms over time: the gauges that a metric set names as its load."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.queries import load_query
from inference_rollouts.core.run.frozen import Frozen

POINTS, SHORTEST = 90, 5.0  # points of a line; seconds between two of them, at least

Load = dict[str, list[float | None]]
"""`times` (Unix seconds) and for each of them the requests in all pods of `canary` and of `stable`."""


def load_between(
    prometheus: Prometheus, frozen: Frozen, start: float, end: float, own: Collection[str] | None = None
) -> Load | None:
    """Of both arms; None where the metric set names no gauges, or there is no time between.

    `own` are the pods that the cluster has (None: nobody knows): who still exports without being one of them
    is another cluster's, or gone just now. Raises PrometheusUnavailable.
    """
    plan, metric_set = frozen.plan, frozen.metric_set
    count = min(POINTS, int((end - start) / SHORTEST))
    if not metric_set.load or count < 2:
        return None
    step = (end - start) / count
    times = [start + step * place for place in range(1, count + 1)]
    arms = {"canary": frozen.arm_at_home(plan.canary), "stable": frozen.arm_at_home(plan.stable)}
    asked = load_query(metric_set, arms["canary"], arms["stable"], max(1, round(step)))
    vectors = prometheus.query_range(asked, times)
    newest = {each["metric"].get(metric_set.pod, "") for each in vectors[-1]}
    others = newest.difference(newest if own is None else own)
    ours = [[s for s in each if s["metric"].get(metric_set.pod, "") not in others] for each in vectors]
    lines = {side: [_sum(each, metric_set.arm_of(arm)) for each in ours] for side, arm in arms.items()}
    return {"times": [*times], **lines}


def _sum(samples: Sequence[Mapping[str, Any]], arm: Arm) -> float | None:
    """Of the arm's samples; None where there are none."""
    found = [float(each["value"][1]) for each in samples if arm.has(each["metric"].get(arm.label, ""))]
    return round(sum(found), 3) if found else None
