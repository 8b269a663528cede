"""Whether both pools have room for the canary's next share, and for all of it to come back."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence

from inference_rollouts.core.capacity import Pool, Room, raise_readiness, rooms
from inference_rollouts.core.frozen import Frozen
from inference_rollouts.core.metrics import SERIES, load_query
from inference_rollouts.core.plan import PoolPlan
from inference_rollouts.core.readiness import Readiness, ready_pods
from inference_rollouts.hooks.cluster import ClusterHook, Object
from inference_rollouts.hooks.observation import pods_of
from inference_rollouts.hooks.prometheus import PrometheusHook, PrometheusUnavailable

LOAD_SPAN = 60  # seconds over which the requests in flight are averaged

log = logging.getLogger(__name__)


def next_raise(cluster: ClusterHook, prometheus: PrometheusHook, frozen: Frozen, percent: int) -> Readiness:
    """Whether the canary may be given `percent` %: it has room for that, stable for everything to come back.

    Adapters share their pods, which all must answer for either: there ready pods are enough.
    """
    plan = frozen.plan
    if not isinstance(plan, PoolPlan):
        pods = ready_pods(pods_of(cluster, plan.pool_of(plan.canary)))
        return Readiness.when(bool(pods), f"{plan.pool_of(plan.canary)} has {len(pods)} ready pods")
    return raise_readiness(pool_rooms(cluster, prometheus, frozen, percent))


def pool_rooms(
    cluster: ClusterHook, prometheus: PrometheusHook, frozen: Frozen, percent: int
) -> tuple[Room, Room]:
    """Room for all requests in stable, and for `percent` % of them in the canary, as the pools are now."""
    plan = frozen.pool_plan
    stable, canary = (ready_pods(pods_of(cluster, pool)) for pool in (plan.stable, plan.canary))
    load = requests_in_flight(prometheus, frozen, [*stable, *canary])
    limits = plan.capacity
    return rooms(
        limits,
        Pool.of(plan.stable, stable, limits.declared_stable),
        Pool.of(plan.canary, canary, limits.per_pod),
        percent,
        load,
        frozen.stable_pods,
    )


def requests_in_flight(prometheus: PrometheusHook, frozen: Frozen, ready: Sequence[Object]) -> float | None:
    """Requests running or waiting in both pools, averaged; None when a ready pod does not tell its own."""
    plan, metric_set = frozen.plan, frozen.metric_set
    if not metric_set.load:
        return None
    asked = load_query(metric_set, plan.arm(plan.canary), plan.arm(plan.stable), LOAD_SPAN)
    try:
        samples = prometheus.query(asked, time.time() - plan.analysis.lag)
    except PrometheusUnavailable as error:
        log.warning("%s", error)
        return None
    told = [_sample(sample["metric"], metric_set.pod) for sample in samples if _finite(sample)]
    wanted = {(str(place), pod["metadata"]["name"]) for pod in ready for place in range(len(metric_set.load))}
    if silent := wanted - set(told):
        log.info("no figures of requests in flight from %s", ", ".join(sorted({pod for _, pod in silent})))
        return None
    return sum(float(sample["value"][1]) for sample in samples if _finite(sample))


def _sample(labels: Mapping[str, str], pod: str) -> tuple[str, str]:
    return labels.get(SERIES, ""), labels.get(pod, "")


def _finite(sample: Mapping[str, object]) -> bool:
    return math.isfinite(float(sample["value"][1]))  # type: ignore[index]
