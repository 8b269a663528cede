"""One observation of a rollout: the counters of both arms, and the health of route and pools."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from inference_rollouts.clients.kubernetes import Reader
from inference_rollouts.clients.line import Line
from inference_rollouts.clients.prometheus import Prometheus
from inference_rollouts.clients.read_once import ReadOnce
from inference_rollouts.core.judging.counters import NEAR, Exporter, windows
from inference_rollouts.core.judging.counts import Snapshot, uneven
from inference_rollouts.core.judging.guardrails import storms
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.policy import STORM_WINDOWS, Health
from inference_rollouts.core.judging.queries import Query, queries
from inference_rollouts.core.objects.crashes import Crashes
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import (
    Phase,
    is_unresolved,
    ready_pods,
    route_readiness,
    worst,
)
from inference_rollouts.core.routing.drift import own_claim, untouched
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.guard import StormWatch
from inference_rollouts.rollout.availability import availability_of, picker_pods
from inference_rollouts.rollout.pods import Server, pods_of, ready_servers


@dataclass(frozen=True, slots=True)
class ClusterObservation:
    """The cluster now: its health, why the step may not pass as things are, how the canary's pods crashed.

    `servers` are the canary's that are ready. `moved` are the objects that move, as they were read;
    `exporters` the pods whose metrics count, empty where nobody knows them; `serving` those of them that are
    ready.
    """

    health: Health
    blockers: tuple[str, ...]
    crashes: Crashes
    servers: tuple[Server, ...] = ()
    moved: tuple[K8sObject, ...] = ()
    exporters: frozenset[Exporter] = frozenset()
    serving: frozenset[Exporter] = frozenset()


@dataclass(frozen=True, slots=True)
class PoolsObservation:
    """Both pools now: their health, what is wrong with them in words, and how the canary's pods crashed."""

    health: Health
    outages: tuple[str, ...]
    crashes: Crashes


def snapshot(prometheus: Prometheus, frozen: Frozen, at: float) -> Snapshot:
    """Both arms' counters at Unix time `at`; raises PrometheusUnavailable."""
    return answers(prometheus, queries_of(frozen), at)


def snapshot_at_home(prometheus: Prometheus, frozen: Frozen, at: float) -> Snapshot:
    """The same of this cluster alone, as far as labels tell it; raises PrometheusUnavailable."""
    plan = frozen.plan
    arms = frozen.arm_at_home(plan.canary), frozen.arm_at_home(plan.stable)
    return answers(prometheus, queries(frozen.metric_set, *arms), at)


def snapshots(prometheus: Prometheus, asked: Sequence[Query], at: Sequence[float]) -> list[Snapshot]:
    """The answers to queries at each of several Unix times that rise; raises PrometheusUnavailable.

    Those that rise evenly to the last are asked for at once, those before them each at its time.
    """
    apart = len(at) if len(at) == 1 else uneven(at)
    first, rest = [answers(prometheus, asked, each) for each in at[:apart]], at[apart:]
    found = {query.key: prometheus.query_range(query.promql, rest) for query in asked if rest}
    return first + [
        Snapshot.of_vectors(each, {key: vectors[place] for key, vectors in found.items()})
        for place, each in enumerate(rest)
    ]


def beside(
    asked: Sequence[Query], due: Sequence[float], wanted: Mapping[str, Sequence[float]]
) -> list[tuple[Query, list[float]]]:
    """Which of the queries that are asked at the times that are `due` are `wanted` at others too."""
    others = {
        key: [each for each in times if min(abs(each - tick) for tick in due) > NEAR]
        for key, times in wanted.items()
    }
    return [(query, others[query.key]) for query in asked if others.get(query.key)]


def in_order(*seen: Sequence[Snapshot]) -> list[Snapshot]:
    """All together, by time."""
    return sorted((each for some in seen for each in some), key=lambda each: each.time)


def queries_of(frozen: Frozen) -> tuple[Query, ...]:
    """Those of one observation."""
    plan = frozen.plan
    return queries(frozen.metric_set, frozen.arm(plan.canary), frozen.arm(plan.stable))


def answers(prometheus: Prometheus, asked: Sequence[Query], at: float) -> Snapshot:
    """The answers to queries at Unix time `at`; raises PrometheusUnavailable."""
    return Snapshot.of_vectors(at, {query.key: prometheus.query(query.promql, at) for query in asked})


async def aanswers(prometheus: Prometheus, line: Line, asked: Sequence[Query], at: float) -> Snapshot:
    """The same in an event loop, by its line."""
    seen = {query.key: await prometheus.aquery(query.promql, at, line) for query in asked}
    return Snapshot.of_vectors(at, seen)


def storm_between(
    prometheus: Prometheus,
    watch: StormWatch,
    start: float,
    end: float,
    own: Callable[[], Collection[Exporter]] = frozenset,
) -> str:
    """The sentence of a storm from `start` to `end` (Unix times, STORM_WINDOWS apart), or an empty one.

    `own` says which pods the cluster has: others' storms are not ours. Raises PrometheusUnavailable.
    """
    length = (end - start) / STORM_WINDOWS
    edges = [start + length * place for place in range(-1, STORM_WINDOWS + 1)]
    seen = [answers(prometheus, watch.queries, at) for at in edges]
    counted = windows(watch.metric_set, watch.canary, watch.stable, seen, own() or None)[-STORM_WINDOWS:]
    latest = {
        name: [window.counts[name] for window in counted if name in window.counts]
        for name in (each.errors for each in watch.metric_set.sets)
    }
    return next((reason for _, reason in storms(watch.limits, watch.metric_set, latest)), "")


def observe_cluster(cluster: Reader, frozen: Frozen, crashes: Crashes) -> ClusterObservation:
    """Routes and pools as they are now; `crashes` are known from looks before this one.

    Raises ClaimLost or RouteDrift when what moves is not ours any more.
    """
    plan, cluster = frozen.plan, ReadOnce(cluster)
    moved = [cluster.get(target.api, target.kind, target.name) for target in frozen.targets]
    for obj in moved:
        untouched(obj, own_claim(obj, frozen.token))
    routes = worst(
        route_readiness(obj, frozen.parents_for(obj["metadata"]["name"]))
        for obj in moved
        if obj["kind"] == "HTTPRoute"
    )
    pools = observe_pools(cluster, plan.pool_of(plan.canary), plan.pool_of(plan.stable), crashes)
    health = pools.health.model_copy(update={"route_ok": resolves(moved)})
    late = () if routes.phase is Phase.READY else (f"{routes.message}.",)
    return ClusterObservation(
        health=health,
        blockers=(*late, *pools.outages),
        crashes=pools.crashes,
        servers=ready_servers(cluster, plan.pool_of(plan.canary)),
        moved=tuple(moved),
        exporters=exporters_of(cluster, frozen),
        serving=exporters_of(cluster, frozen, ready_pods),
    )


def exporters_of(
    cluster: Reader, frozen: Frozen, chosen: Callable[[Sequence[K8sObject]], Sequence[K8sObject]] = tuple
) -> frozenset[Exporter]:
    """The pods whose metrics are those of either arm, or those `chosen` of them, if there are any."""
    plan = frozen.plan
    pools = {plan.pool_of(side) for side in (plan.canary, plan.stable)}
    return exporters_in(cluster, pools, frozen.metric_set, chosen)


def exporters_in(
    cluster: Reader,
    pools: Collection[str],
    metric_set: MetricSet,
    chosen: Callable[[Sequence[K8sObject]], Sequence[K8sObject]] = tuple,
) -> frozenset[Exporter]:
    """The same of these pools, and of what the sets count that judge together."""
    return frozenset(exporter for exporter, _ in _exporting(cluster, pools, metric_set, chosen))


def exporting(cluster: Reader, frozen: Frozen) -> dict[Exporter, K8sObject]:
    """The pods of `exporters_of`, as they are."""
    plan = frozen.plan
    pools = {plan.pool_of(side) for side in (plan.canary, plan.stable)}
    return dict(_exporting(cluster, pools, frozen.metric_set, tuple))


def _exporting(
    cluster: Reader,
    pools: Collection[str],
    metric_set: MetricSet,
    chosen: Callable[[Sequence[K8sObject]], Sequence[K8sObject]],
) -> Iterator[tuple[Exporter, K8sObject]]:
    kinds = {each.exporters for each in metric_set.sets}
    for kind, pods in (("servers", pods_of), ("pickers", picker_pods)):
        for pool in pools if kind in kinds else ():
            yield from (((kind, pod["metadata"]["name"]), pod) for pod in chosen(pods(cluster, pool)))


def observe_pools(cluster: Reader, canary: str, stable: str, crashes: Crashes) -> PoolsObservation:
    """Two pools (or one that serves both sides) as they are now; `crashes` are known from looks before."""
    pods = pods_of(cluster, canary)
    crashes = crashes.observed(pods)
    new = availability_of(cluster, canary, pods)
    old = new if stable == canary else availability_of(cluster, stable)
    health = Health(
        ready_canary=new.pods,
        ready_stable=old.pods if old.available else 0,
        shared=canary == stable,
        restarts=crashes.count,
        canary_outage=new.sentence if new.pods and not new.available else "",
    )
    outages = dict.fromkeys(each.sentence for each in (new, old) if each.pods and each.sentence)
    return PoolsObservation(health, tuple(outages), crashes)


def resolves(moved: Iterable[K8sObject]) -> bool:
    """Whether no parent says, of the routes as they are now, that it finds what they refer to no more."""
    return not any(is_unresolved(obj) for obj in moved if obj["kind"] == "HTTPRoute")
