"""A rollout to a second pool: new nodes under the same model, or a new model or server."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.judging.policy import Health, Step, StepContext
from inference_rollouts.core.objects.inference_pool import pod_of
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.parents import Parent
from inference_rollouts.core.objects.readiness import Readiness
from inference_rollouts.core.objects.takeover import Finding, Verdict
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.core.routing.claim import Floor, Place
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.run.holding import held_floors
from inference_rollouts.core.run.taking_over import Takeover
from inference_rollouts.core.serving.adapters import nameable
from inference_rollouts.core.serving.capacity import RoomAhead
from inference_rollouts.core.serving.client_view import ACCESS, CLIENTS, CONTEXT
from inference_rollouts.core.serving.way_back import kept_share
from inference_rollouts.preflight import (
    adapters,
    capacity,
    creation,
    draining,
    hardware,
    like_stable,
    policies,
    pools,
    routing,
    takeover,
    trial,
)
from inference_rollouts.preflight.named import metric_set_of
from inference_rollouts.rollout import serving
from inference_rollouts.rollout.asking import AskedServers
from inference_rollouts.rollout.availability import availability_of
from inference_rollouts.rollout.capacity import is_shrunk, pods_for_all, pool_room, pool_room_ahead
from inference_rollouts.rollout.pods import servers_of
from inference_rollouts.rollout.ports import ports_of
from inference_rollouts.rollout.proving import Proving
from inference_rollouts.rollout.retirement import PoolSubject, Subject
from inference_rollouts.rollout.run import ReconcilePods, Run
from inference_rollouts.rollout.sizes import bring_back_size
from inference_rollouts.rollout.targets import route_places, routes_of
from inference_rollouts.rollout.warm_up import Warming, warming_up

log = logging.getLogger(__name__)

CONTEXT_ACCEPTED, ACCESS_ACCEPTED = f"{CLIENTS}.{CONTEXT}", f"{CLIENTS}.{ACCESS}"


@dataclass(frozen=True, slots=True)
class PoolRollout:
    """Brings a second InferencePool with nodes and servers, and moves weights of HTTPRoutes."""

    plan: PoolPlan

    def freeze(self, clients: Clients, run: str) -> Frozen:
        from inference_rollouts.preflight import measuring  # on use: no other task needs it, and numpy

        cluster, metric_set = clients.cluster, metric_set_of(self.plan)
        moved = self.targets(cluster)
        began = cluster.time()  # which has just said what time it is
        targets = routing.targets(moved, self.places)
        parents = routing.parents(cluster, self.plan, targets)
        routing.check_owners(moved, self.plan.accept_differences)
        routing.warn_of_writers(moved, began)
        pools.check_stable(cluster, self.plan, parents)
        adopted = pools.is_adopted(cluster, self.plan, moved)
        pools.check_canary(cluster, self.plan, adopted=adopted)
        pool = pools.routed_pool(cluster, self.plan, targets)
        plan, taken = self._adopt(clients, parents) if adopted else self._create(clients, pool)
        taken.findings += takeover.backends(moved, plan.stable, plan.canary, self.places)
        takeover.check(taken.findings, plan)
        routing.warn_of_stickiness(moved, self.places, taken.manifests)
        previews = trial.previews(cluster, plan, run, targets)
        creation.check(cluster, plan, previews)
        trial.check_mirror(cluster, plan, parents, targets)
        if not adopted:
            policies.check(cluster, plan, taken.manifests)
            draining.warn_of_cuts(taken.manifests)
            hardware.check_nodes(clients, plan, run, taken.manifests)
        frozen = Frozen(
            run=run,
            token=secrets.token_hex(16),
            plan=plan,
            parents=parents,
            targets=targets,
            metric_set=metric_set,
            manifests=tuple(taken.manifests),
            stable_pods=capacity.count_stable(cluster, plan),
            shared=routing.others(cluster, plan, targets),
            previews=tuple(previews),
            began=began,
            findings=tuple(taken.findings),
            adopted=adopted,
            ports=ports_of(cluster, plan, taken.manifests),
        )
        frozen = measuring.check_metrics(clients, frozen)
        capacity.check(clients, frozen)
        capacity.floors(cluster, plan, frozen.stable_pods)
        return frozen

    def _create(self, clients: Clients, pool: K8sObject) -> tuple[PoolPlan, Takeover]:
        """The plan with all that it leaves to what serves today, and all that a rollout would create."""
        cluster = clients.cluster
        stable = takeover.survey(cluster, self.plan, pool)
        plan = adapters.with_adapters(clients, like_stable.resolved_for(clients, self.plan, stable))
        taken = creation.manifests(cluster, self.plan, plan, stable)
        taken.manifests += creation.accepted_copies(cluster, plan, taken)
        return plan, taken

    def _adopt(self, clients: Clients, parents: Sequence[Parent]) -> tuple[PoolPlan, Takeover]:
        """The plan for a canary that is there already, and of which nothing is changed."""
        pools.check_pool(clients.cluster, self.plan, self.plan.canary, parents, "The canary pool")
        title = f"InferencePool {self.plan.canary}"
        row = Finding(
            title, "", self.plan.stable, "as it is", Verdict.TAKEN_OVER, "it was there, and is adopted"
        )
        return like_stable.adopted(clients, self.plan), Takeover([], findings=[row])

    def targets(self, cluster: Cluster) -> list[tuple[Target, K8sObject]]:
        return routes_of(cluster, self.plan)

    def places(self, obj: K8sObject) -> tuple[Place, ...]:
        return route_places(self.plan, obj)

    def warm_up(self, run: Run) -> Mapping[str, float]:
        plan = self.plan
        with warming_up(run) as servers:
            stable, canary = (servers_of(run.cluster, pool) for pool in (plan.stable, plan.canary))
            if (ready := len({pod_of(server) for server in canary})) < plan.workload.replicas:
                text = f"{ready} of {plan.workload.replicas} pods of {plan.canary} are ready"
                raise WarmUpFailed(text)
            with Proving(run, canary) as proving:
                model, how = plan.workload.served_model_name, plan.warm_up
                warming = Warming(servers, canary, model, how, proving.answered)
                ttfts = warming.warm()
                self._require_alike(servers, stable, canary)
                proving.require(servers.until, warming.ask_again)
        return ttfts

    def floors(self, run: Run) -> tuple[Floor, ...]:
        stable = capacity.floors(run.cluster, self.plan, run.frozen.stable_pods)
        return (*stable, *(floor for each in run.frozen.manifests for floor in held_floors(each)))

    def room(self, run: Run, step: Step) -> Readiness:
        return pool_room(run.cluster, run.clients.prometheus, run.frozen, run.in_flight, step)

    def asks_for_room(self, run: Run, context: StepContext, health: Health, now: float) -> bool:
        return now >= context.baked_at or is_shrunk(run.frozen, health)

    def room_ahead(self, run: Run, context: StepContext, health: Health) -> RoomAhead:
        return pool_room_ahead(run.clients, run.frozen, run.in_flight, context, health)

    def kept_share(self, run: Run, percent: int, *, patient: bool) -> int:
        stable, canary = (availability_of(run.cluster, pool) for pool in (self.plan.stable, self.plan.canary))
        if stable.available and stable.pods >= run.frozen.stable_pods:
            return 0
        bring_back_size(run.cluster, self.plan.name, self.plan.stable, run.frozen.stable_pods)
        if not (stable.available and canary.available):
            return kept_share(stable, canary, percent, run.frozen.stable_pods)
        needed = pods_for_all(run.clients, run.frozen, run.in_flight)
        if needed is None:
            needed = run.frozen.stable_pods if patient else stable.pods
        return kept_share(stable, canary, percent, needed)

    def reconciler(self, run: Run) -> ReconcilePods:
        """Pods that come later have all they need from their manifests."""
        return lambda servers: []

    def retired(self, clients: Clients, retirement: Retirement) -> Subject:
        return PoolSubject(clients, self.plan, retirement)

    def _require_alike(self, servers: AskedServers, stable: serving.Urls, canary: serving.Urls) -> None:
        """Every new server answers for each name of stable's, and as one of them does."""
        work, how, model = self.plan.workload, self.plan.warm_up, self.plan.workload.served_model_name
        today = serving.seen_by(servers, stable)
        names = nameable(today, {})
        known = [each for served in today.values() for each in served]
        keyed = servers.wants_key(next(iter(stable.values())))
        self._tell_versions(servers, stable, canary)
        answers = serving.references(servers, *next(iter(stable.items())), model, how)

        def require(pod: str, url: str) -> None:
            serving.require_adapters(servers, pod, url, work, how)
            serving.require_names(servers, pod, url, names)
            if CONTEXT_ACCEPTED not in self.plan.accept_differences:
                serving.require_context(servers, pod, url, known)
            if ACCESS_ACCEPTED not in self.plan.accept_differences:
                serving.require_access(servers, pod, url, keyed=keyed)
            serving.require_alike(servers, pod, url, model, how, answers)

        serving.on_each(canary, require)

    def _tell_versions(self, servers: AskedServers, stable: serving.Urls, canary: serving.Urls) -> None:
        """Which versions of their servers the two pools run, for people."""
        before, after = (sorted(set(serving.versions(servers, urls).values())) for urls in (stable, canary))
        log.info("servers of version %s, and now %s", ", ".join(before), ", ".join(after))
