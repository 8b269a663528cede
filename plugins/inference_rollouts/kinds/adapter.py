"""A rollout of a LoRA adapter inside one pool, under clients that go on asking for its alias."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import WarmUpFailed
from inference_rollouts.core.judging.policy import Health, Step, StepContext
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.readiness import Readiness
from inference_rollouts.core.plan.plan import AdapterPlan
from inference_rollouts.core.retirement.retirement import Retirement
from inference_rollouts.core.routing.claim import Floor, Place
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.core.run.frozen import Frozen
from inference_rollouts.core.serving.capacity import RoomAhead
from inference_rollouts.preflight import capacity, lora, pools, routing
from inference_rollouts.preflight.named import metric_set_of
from inference_rollouts.rollout import serving
from inference_rollouts.rollout.adapters import (
    AdapterReconciler,
    bring_old_back,
    ensure_loaded,
    is_loaded,
    new_adapter,
)
from inference_rollouts.rollout.asking import AskedServers
from inference_rollouts.rollout.capacity import adapter_room
from inference_rollouts.rollout.pods import servers_of
from inference_rollouts.rollout.ports import ports_of
from inference_rollouts.rollout.proving import Proving
from inference_rollouts.rollout.retirement import AdapterSubject, Subject
from inference_rollouts.rollout.run import ReconcilePods, Run
from inference_rollouts.rollout.targets import alias_places, splitter_of
from inference_rollouts.rollout.warm_up import Warming, warming_up


@dataclass(frozen=True, slots=True)
class AdapterRollout:
    """Loads an adapter on every pod, and moves weights of what splits its alias."""

    plan: AdapterPlan

    def freeze(self, clients: Clients, run: str) -> Frozen:
        from inference_rollouts.preflight import measuring  # on use: no other task needs it, and numpy

        cluster, metric_set = clients.cluster, metric_set_of(self.plan)
        moved = self.targets(cluster)
        began = cluster.time()  # which has just said what time it is
        targets = routing.targets(moved, self.places)
        routing.warn_of_writers(moved, began)
        pools.check_stable(cluster, self.plan, parents=())
        lora.check(clients, self.plan, targets)
        stable_path = lora.path_of_stable(clients, self.plan)
        frozen = Frozen(
            run=run,
            token=secrets.token_hex(16),
            plan=self.plan,
            parents=(),
            targets=targets,
            metric_set=metric_set,
            manifests=(),
            stable_pods=capacity.count_stable(cluster, self.plan),
            began=began,
            stable_path=stable_path,
            ports=ports_of(cluster, self.plan),
        )
        return measuring.check_metrics(clients, frozen)

    def targets(self, cluster: Cluster) -> list[tuple[Target, K8sObject]]:
        return [splitter_of(cluster, self.plan)]

    def places(self, obj: K8sObject) -> tuple[Place, ...]:
        return alias_places(self.plan, obj)

    def warm_up(self, run: Run) -> Mapping[str, float]:
        plan, new = self.plan, new_adapter(self.plan)
        with warming_up(run) as servers:
            urls = servers_of(run.cluster, plan.pool)
            serving.on_each(urls, lambda pod, url: ensure_loaded(servers, pod, url, new))
            with Proving(run, urls) as proving:
                warming = Warming(servers, urls, plan.canary, plan.warm_up, proving.answered)
                ttfts = warming.warm()
                self._require_listed(servers, urls)
                self._require_alike(servers, urls)
                proving.require(servers.until, warming.ask_again)
        return ttfts

    def floors(self, run: Run) -> tuple[Floor, ...]:
        """None: the pods that serve the old adapter serve the new one too."""
        return ()

    def room(self, run: Run, step: Step) -> Readiness:
        return adapter_room(run.clients, run.frozen)

    def asks_for_room(self, run: Run, context: StepContext, health: Health, now: float) -> bool:
        """All pods answer for both adapters: what has room now has it for the next step."""
        return False

    def room_ahead(self, run: Run, context: StepContext, health: Health) -> RoomAhead:
        return RoomAhead()

    def reconciler(self, run: Run) -> ReconcilePods:
        return AdapterReconciler(run.frozen, run.clients)

    def kept_share(self, run: Run, percent: int, *, patient: bool) -> int:
        """Nothing: the same pods serve both. Those that came later are given the old adapter first."""
        bring_old_back(run.clients, run.frozen)
        return 0

    def retired(self, clients: Clients, retirement: Retirement) -> Subject:
        return AdapterSubject(clients, self.plan, retirement)

    def _require_listed(self, servers: AskedServers, urls: serving.Urls) -> None:
        canary = self.plan.canary
        known = serving.on_each(urls, lambda pod, url: is_loaded(servers, pod, url, canary))
        if lacking := [pod for pod, loaded in known.items() if not loaded]:
            raise WarmUpFailed(
                f"Pods {', '.join(lacking)} answer as {canary} but do not list it in /v1/models, "
                "and nobody knows what they answer with"
            )

    def _require_alike(self, servers: AskedServers, urls: serving.Urls) -> None:
        """Every pod answers the golden prompts as canary as one of them does as stable."""
        plan, how = self.plan, self.plan.warm_up
        answers = serving.references(servers, *next(iter(urls.items())), plan.stable, how)
        serving.on_each(
            urls,
            lambda pod, url: serving.require_alike(servers, pod, url, plan.canary, how, answers),
        )
