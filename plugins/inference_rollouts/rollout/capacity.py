"""Whether both pools have room for the canary's next share, and for all of it to come back."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.core.errors import PrometheusUnavailable
from inference_rollouts.core.judging.own import inside, near_home
from inference_rollouts.core.judging.policy import Health, Step, StepContext
from inference_rollouts.core.judging.queries import inside_query, load_query
from inference_rollouts.core.limits import STORE_SKEW
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Phase, Readiness, ready_pods
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.capacity import Pool, Room, RoomAhead, raise_readiness, rooms
from inference_rollouts.core.serving.strangers import Strangers
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.pods import pods_of

LOAD_SPAN = 60  # seconds over which the requests in flight are averaged

log = logging.getLogger(__name__)


class InFlight:
    """Requests running or waiting in both pools of a rollout, averaged over LOAD_SPAN.

    What a pod had that is just gone comes to the others: it counts for as long as that reaches back. Who
    exports for longer without being in the cluster is another one's, and counts no more.
    """

    def __init__(self) -> None:
        self._strangers = Strangers()

    def requests(self, prometheus: Prometheus, frozen: Frozen, pods: Sequence[K8sObject]) -> float | None:
        """So many now; None unless each ready one of `pods`, all that both pools have, exports its own."""
        now = prometheus.time()
        at = now - frozen.plan.analysis.scrape_delay
        if (gauges := _gauges(prometheus, frozen, at)) is None:
            return None
        self._strangers = self._strangers.seen({pod for pod, _ in gauges}, _names(pods), now)
        others = self._strangers.lacking_at(at - LOAD_SPAN - STORE_SKEW)
        return _total(frozen, {key: value for key, value in gauges.items() if key[0] not in others}, pods)


def pool_room(
    cluster: Reader, prometheus: Prometheus, frozen: Frozen, in_flight: InFlight, step: Step
) -> Readiness:
    """Whether the canary has room for what `step` gives it, and stable for all of it to come back."""
    plan = frozen.plan.as_pool_plan
    for pool in (plan.stable, plan.canary):
        if trouble := availability_of(cluster, pool).sentence:
            return Readiness(Phase.WAITING, trouble)
    return raise_readiness(_rooms(cluster, prometheus, frozen, in_flight, step.weight or step.mirror))


def pods_for_all(clients: Clients, frozen: Frozen, in_flight: InFlight) -> int | None:
    """How many of stable's pods carry all requests that are in flight now; None: nobody knows.

    At most as many as carried them at preflight: what waits in a canary that hangs is no measure.
    """
    plan = frozen.plan.as_pool_plan
    stable, canary = (pods_of(clients.cluster, pool) for pool in (plan.stable, plan.canary))
    load = in_flight.requests(clients.prometheus, frozen, [*stable, *canary])
    pool = Pool.of(plan.stable, ready_pods(stable), plan.capacity.declared_stable)
    if load is None or pool.per_pod is None:
        return None
    return max(1, min(math.ceil(load / pool.per_pod), frozen.stable_pods))


def adapter_room(clients: Clients, frozen: Frozen) -> Readiness:
    """Whether a pool can serve either of its adapters: all pods answer for both, so ready ones are enough."""
    pool = frozen.plan.as_adapter_plan.pool
    answer = availability_of(clients.cluster, pool)
    return Readiness.when(not answer.sentence, answer.sentence or f"{pool} has {answer.pods} ready pods")


def is_shrunk(frozen: Frozen, health: Health) -> bool:
    """Whether stable has fewer ready pods than before."""
    return health.ready_stable is not None and health.ready_stable < frozen.stable_pods


def pool_room_ahead(
    clients: Clients, frozen: Frozen, in_flight: InFlight, context: StepContext, health: Health
) -> RoomAhead:
    """Whether the pools have room for the step after this one.

    After the last step nothing is raised any more, so nothing is blocked: stable, idle, may be scaled down.
    """
    plan = frozen.plan
    if context.index == len(plan.all_steps):
        less = f"{plan.stable} has {health.ready_stable} ready pods of the {frozen.stable_pods} before"
        small = is_shrunk(frozen, health)
        return RoomAhead(notes=(f"{less}: it may be too small to take all requests back.",) if small else ())
    ahead = plan.all_steps[context.index]
    room = pool_room(clients.reader, clients.prometheus, frozen, in_flight, ahead)
    if room.phase is Phase.READY:
        return RoomAhead()
    return RoomAhead(blockers=(f"The next raise has to wait: {room.message.rstrip('.')}.",))


def requests_of(prometheus: Prometheus, frozen: Frozen, pods: Sequence[K8sObject]) -> float | None:
    """Requests running or waiting in `pods` alone, averaged; None unless each ready one exports its own."""
    gauges, own = (
        _gauges(prometheus, frozen, prometheus.time() - frozen.plan.analysis.scrape_delay),
        _names(pods),
    )
    if gauges is None:
        return None
    return _total(frozen, {key: value for key, value in gauges.items() if key[0] in own}, pods)


def load_over(prometheus: Prometheus, frozen: Frozen, until: float, seconds: int) -> float | None:
    """Requests in flight in both pools, averaged over `seconds` until a time in the past (Unix seconds).

    Which pods there were then is not known, but how labels tell this cluster's. None where none exported any,
    or the store does not answer.
    """
    plan, metric_set = frozen.plan, frozen.metric_set
    if not metric_set.load:
        return None
    arms = frozen.arm_at_home(plan.canary), frozen.arm_at_home(plan.stable)
    query = load_query(metric_set, *arms, seconds)
    try:
        load = [float(sample["value"][1]) for sample in prometheus.query(query, until)]
    except PrometheusUnavailable as error:
        log.warning("%s", error)
        return None
    return sum(load) if load and math.isfinite(sum(load)) else None


def _gauges(prometheus: Prometheus, frozen: Frozen, at: float) -> dict[tuple[str, str], float] | None:
    """What pods export by Unix time `at`, by pod and gauge; None where nobody knows.

    Of pods of one name in several clusters what ours exports; nothing where nothing tells which that is.
    """
    plan, metric_set = frozen.plan, frozen.metric_set
    if not metric_set.load:
        return None
    arms = frozen.arm(plan.canary), frozen.arm(plan.stable)
    query = inside_query(metric_set, *arms, LOAD_SPAN)
    try:
        answer = prometheus.query(query, at)
    except PrometheusUnavailable as error:
        log.warning("%s", error)
        return None
    samples = [(each["metric"], float(each["value"][1])) for each in answer]
    near = near_home(samples, metric_set.pod, metric_set.arm_of(arms[1]), frozen.home)
    return inside(near, metric_set.pod, several=any(arm.ports for arm in arms))


def _total(
    frozen: Frozen, gauges: Mapping[tuple[str, str], float], pods: Sequence[K8sObject]
) -> float | None:
    """Of all gauges; None unless each ready one of `pods` exports its own."""
    places = [str(place) for place in range(len(frozen.metric_set.load))]
    names = sorted(_names(ready_pods(pods)))
    if silent := [name for name in names if any((name, place) not in gauges for place in places)]:
        log.info("the requests in flight are not known: %s exports none", ", ".join(silent))
        return None
    load = sum(gauges.values())
    return load if math.isfinite(load) else None


def _names(pods: Sequence[K8sObject]) -> frozenset[str]:
    return frozenset(pod["metadata"]["name"] for pod in pods)


def _rooms(
    cluster: Reader, prometheus: Prometheus, frozen: Frozen, in_flight: InFlight, percent: int
) -> tuple[Room, Room]:
    plan = frozen.plan.as_pool_plan
    stable, canary = (pods_of(cluster, pool) for pool in (plan.stable, plan.canary))
    load = in_flight.requests(prometheus, frozen, [*stable, *canary])
    return rooms(
        plan.capacity,
        Pool.of(plan.stable, ready_pods(stable), plan.capacity.declared_stable),
        Pool.of(plan.canary, ready_pods(canary), plan.capacity.per_pod),
        percent,
        load,
        frozen.stable_pods,
    )
