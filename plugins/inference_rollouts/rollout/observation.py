"""One observation of a rollout: the counters of both arms, and the health of route and pools."""

from __future__ import annotations

from dataclasses import dataclass

from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.core.judging.counts import Snapshot
from inference_rollouts.core.judging.metrics import queries
from inference_rollouts.core.judging.policy import Health
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Phase, ready_pods, restarts, route_readiness, worst
from inference_rollouts.core.routing.drift import in_order, own_claim
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.pods import pods_of


@dataclass(frozen=True, slots=True)
class ClusterObservation:
    """The cluster now: its health, why the step may not pass as things are, the canary's ready pods."""

    health: Health
    blockers: tuple[str, ...]
    canary_pods: tuple[K8sObject, ...]


def snapshot(prometheus: Prometheus, frozen: Frozen, at: float) -> Snapshot:
    """Both arms' counters at Unix time `at`; raises PrometheusUnavailable."""
    plan = frozen.plan
    both = queries(frozen.metric_set, plan.arm(plan.canary), plan.arm(plan.stable))
    return Snapshot.of_vectors(at, {query.key: prometheus.query(query.promql, at) for query in both})


def observe_cluster(cluster: Cluster, frozen: Frozen, since: float) -> ClusterObservation:
    """Routes and pools as they are now, in a step that began at `since` (Unix seconds).

    Raises ClaimLost or RouteDrift when what moves is not ours any more.
    """
    plan = frozen.plan
    moved = [cluster.get(target.api, target.kind, target.name) for target in frozen.targets]
    for obj in moved:
        in_order(obj, own_claim(obj, frozen.token))
    routes = worst(
        route_readiness(obj, frozen.parents_for(obj["metadata"]["name"]))
        for obj in moved
        if obj["kind"] == "HTTPRoute"
    )
    canary, stable = (plan.pool_of(side) for side in (plan.canary, plan.stable))
    pods = pods_of(cluster, canary)
    new = availability_of(cluster, canary, pods)
    old = new if stable == canary else availability_of(cluster, stable)
    health = Health(
        ready_canary=new.pods,
        ready_stable=old.pods if old.available else 0,
        shared=canary == stable,
        restarts=restarts(pods, since),
        canary_outage=new.sentence if new.pods and not new.available else "",
    )
    late = () if routes.phase is Phase.READY else (f"{routes.message}.",)
    outages = dict.fromkeys(each.sentence for each in (new, old) if each.pods and each.sentence)
    return ClusterObservation(health, (*late, *outages), tuple(ready_pods(pods)))
