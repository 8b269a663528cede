"""One look at a rollout: the counters of both arms, and the health of route and pools."""

from __future__ import annotations

from dataclasses import dataclass

from inference_rollouts.clients.kubernetes import ClusterHook, Object
from inference_rollouts.clients.prometheus import PrometheusHook
from inference_rollouts.core.errors import ClusterRefused
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.metrics import queries
from inference_rollouts.core.judging.policy import Health
from inference_rollouts.core.objects.inference_pool import pod_labels
from inference_rollouts.core.objects.readiness import (
    Json,
    Phase,
    ready_pods,
    restarts,
    route_readiness,
    worst,
)
from inference_rollouts.core.routing.claim import held_record
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.pickers import Outage, picker_outage
from inference_rollouts.rollout.targets import find_pool


@dataclass(frozen=True, slots=True)
class Sight:
    """The cluster at one look, the canary's ready pods, and why the step may not pass as things are."""

    health: Health
    holds: tuple[str, ...]
    canary: tuple[Json, ...]


def snapshot(prometheus: PrometheusHook, frozen: Frozen, at: float) -> Snapshot:
    """Both arms' counters at Unix time `at`; raises PrometheusUnavailable."""
    plan = frozen.plan
    asked = queries(frozen.metric_set, plan.arm(plan.canary), plan.arm(plan.stable))
    return Snapshot.of_vectors(at, {query.key: prometheus.query(query.promql, at) for query in asked})


def sight(cluster: ClusterHook, frozen: Frozen, since: float) -> Sight:
    """Routes and pools as they are now, in a step that began at `since` (Unix seconds).

    Raises HoldLost or RouteDrift when what moves is not ours any more.
    """
    plan = frozen.plan
    things = [cluster.get(target.api, target.kind, target.name) for target in frozen.targets]
    for thing in things:
        held_record(thing, frozen.run)
    seen = worst(route_readiness(thing, frozen.gateway) for thing in things if thing["kind"] == "HTTPRoute")
    canary, stable = (plan.pool_of(side) for side in (plan.canary, plan.stable))
    pods = pods_of(cluster, canary)
    ready = ready_pods(pods)
    outages = {pool: outage for pool in (canary, stable) if (outage := outage_of(cluster, pool))}
    lost = outages.get(canary)
    no_way_back = stable in outages and outages[stable].total
    health = Health(
        ready_canary=len(ready),
        ready_stable=0 if no_way_back else len(ready_pods(pods_of(cluster, stable))),
        shared=canary == stable,
        restarts=restarts(pods, since),
        canary_outage=lost.message if lost and lost.total else "",
    )
    late = () if seen.phase is Phase.READY else (f"{seen.message}.",)
    return Sight(health, (*late, *(outage.message for outage in outages.values())), tuple(ready))


def outage_of(cluster: ClusterHook, pool: str) -> Outage | None:
    """The outage of a pool's endpoint picker, if any."""
    found = find_pool(cluster, pool)
    return picker_outage(cluster, found) if found else None


def pods_of(cluster: ClusterHook, pool: str) -> list[Object]:
    """The pods that an InferencePool selects; none when there is no such pool."""
    found = find_pool(cluster, pool)
    labels = pod_labels(found) if found else {}
    if found and not labels:
        raise ClusterRefused(f"InferencePool {pool} selects pods by nothing; give it matchLabels.")
    return cluster.select("v1", "Pod", labels) if found else []
