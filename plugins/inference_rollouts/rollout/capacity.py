"""Whether both pools have room for the canary's next share, and for all of it to come back."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_rollouts.clients.kubernetes import ClusterHook
from inference_rollouts.clients.prometheus import PrometheusHook, PrometheusUnavailable
from inference_rollouts.core.judging.metrics import SERIES, load_query
from inference_rollouts.core.judging.policy import Health, Rung, StepContext
from inference_rollouts.core.objects.readiness import Phase, Readiness, ready_pods
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.capacity import Pool, Room, raise_readiness, rooms
from inference_rollouts.rollout.observation import outage_of, pods_of

LOAD_SPAN = 60  # seconds over which the requests in flight are averaged

log = logging.getLogger(__name__)


def next_raise(cluster: ClusterHook, prometheus: PrometheusHook, frozen: Frozen, rung: Rung) -> Readiness:
    """Whether the canary may be given what `rung` says: it has room for that, stable for all to come back.

    Adapters share their pods, which all answer for either: there ready pods are enough.
    """
    plan = frozen.plan
    for pool in dict.fromkeys((plan.pool_of(plan.stable), plan.pool_of(plan.canary))):
        if outage := outage_of(cluster, pool):
            return Readiness(Phase.WAITING, outage.message)
    if not isinstance(plan, PoolPlan):
        pods = ready_pods(pods_of(cluster, plan.pool_of(plan.canary)))
        return Readiness.when(bool(pods), f"{plan.pool_of(plan.canary)} has {len(pods)} ready pods")
    return raise_readiness(_rooms(cluster, prometheus, frozen, rung.weight or rung.mirror))


@dataclass(frozen=True, slots=True)
class RoomAhead:
    """Why a step may not pass, as the pools could not carry the next one; what should be known besides."""

    holds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def room_ahead(
    cluster: ClusterHook,
    prometheus: PrometheusHook,
    frozen: Frozen,
    step: StepContext,
    health: Health,
    now: float,
) -> RoomAhead:
    """Whether the pools have room for the step after this one: asked once it has baked, or stable shrinks.

    After the last step nothing is raised any more, so nothing is held: stable, idle, may be scaled down.
    """
    plan = frozen.plan
    shrunk = health.ready_stable is not None and health.ready_stable < frozen.stable_pods
    if not isinstance(plan, PoolPlan) or not (shrunk or now >= step.baked_at):
        return RoomAhead()
    if step.index == len(plan.rungs):
        less = f"{plan.stable} has {health.ready_stable} ready pods of the {frozen.stable_pods} before"
        return RoomAhead(notes=(f"{less}: it may be too small to take all requests back.",) if shrunk else ())
    seen = next_raise(cluster, prometheus, frozen, plan.rungs[step.index])
    ready = seen.phase is Phase.READY
    return RoomAhead() if ready else RoomAhead((f"The next raise has to wait: {seen.message.rstrip('.')}.",))


def shared_note(frozen: Frozen) -> list[str]:
    """What is to be said of other services on the stable pool."""
    others = ", ".join(frozen.shared)
    return (
        [f"{frozen.plan.stable} serves {others} too, and their requests are compared with."] if others else []
    )


def requests_in_flight(
    prometheus: PrometheusHook, frozen: Frozen, ready: Sequence[Mapping[str, Any]]
) -> float | None:
    """Requests running or waiting in both pools, averaged; None unless every `ready` pod tells its own."""
    plan, metric_set = frozen.plan, frozen.metric_set
    if not metric_set.load:
        return None
    asked = load_query(metric_set, plan.arm(plan.canary), plan.arm(plan.stable), LOAD_SPAN)
    try:
        samples = prometheus.query(asked, time.time() - plan.analysis.lag)
    except PrometheusUnavailable as error:
        log.warning("%s", error)
        return None
    told = {
        (sample["metric"].get(metric_set.pod), sample["metric"].get(SERIES)): float(sample["value"][1])
        for sample in samples
    }
    gauges = [str(place) for place in range(len(metric_set.load))]
    names = [pod["metadata"]["name"] for pod in ready]
    if silent := [name for name in names if any((name, gauge) not in told for gauge in gauges)]:
        log.info("the requests in flight are not known: %s does not tell its own", ", ".join(silent))
        return None
    load = sum(told.values())
    return load if math.isfinite(load) else None


def _rooms(
    cluster: ClusterHook, prometheus: PrometheusHook, frozen: Frozen, percent: int
) -> tuple[Room, Room]:
    plan = frozen.pool_plan
    stable, canary = (ready_pods(pods_of(cluster, pool)) for pool in (plan.stable, plan.canary))
    load = requests_in_flight(prometheus, frozen, [*stable, *canary])
    return rooms(
        plan.capacity,
        Pool.of(plan.stable, stable, plan.capacity.declared_stable),
        Pool.of(plan.canary, canary, plan.capacity.per_pod),
        percent,
        load,
        frozen.stable_pods,
    )
