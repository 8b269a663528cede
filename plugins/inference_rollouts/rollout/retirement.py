"""Take away what a rollout left behind: a pool, or an adapter. Every verb may be repeated at any time.

Before each thing that cannot be undone it is read again who uses the pool; a use stops everything.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

from inference_rollouts.clients.include import load_manifests, load_metric_set
from inference_rollouts.clients.kubernetes import ClusterHook, Object, PatchRefused
from inference_rollouts.clients.model_server import unload_adapter
from inference_rollouts.clients.prometheus import PrometheusHook, PrometheusUnavailable
from inference_rollouts.core.errors import ClusterRefused, RetirementRefused
from inference_rollouts.core.objects.api_groups import GATEWAY_API
from inference_rollouts.core.objects.inference_pool import ports
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.objects.readiness import Phase, Readiness, ready_pods
from inference_rollouts.core.plan.plan import AdapterPlan, PoolPlan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.retirement.idle import Look, activity_query, adapter_look, pool_look
from inference_rollouts.core.retirement.retirement import (
    Doomed,
    Retirement,
    by_hand,
    detach_patch,
    doomed,
    sole_backend,
    user_of_adapter,
    user_of_pool,
    uses_accelerator,
)
from inference_rollouts.rollout.nodes import provisioner_of
from inference_rollouts.rollout.observation import pods_of
from inference_rollouts.rollout.targets import bound_to, find_pool

ATTEMPTS = 5  # status updates of a gateway race with us
WORKLOAD = ("Deployment", "Service")

log = logging.getLogger(__name__)


class Subject(Protocol):
    """What is retired."""

    def find(self) -> tuple[Doomed, ...]:
        """The objects that go. Raises RetirementRefused when it may not be taken away at all."""

    def look(self, now: float, seconds: int) -> Look:
        """Is it quiet: who uses it now, what ran in it in the last `seconds`."""

    def proceed(self) -> Readiness:
        """Take away what may go now; to be called until it is ready. Raises RetirementRefused when in use."""


def subject_of(retirement: Retirement) -> Subject:
    plan = retirement.plan
    cluster = ClusterHook(plan.connections.kubernetes, plan.namespace)
    prometheus = PrometheusHook(plan.connections.prometheus)
    kind = AdapterSubject if isinstance(plan, AdapterPlan) else PoolSubject
    return kind(cluster, prometheus, retirement)


class _Subject(ABC):
    def __init__(self, cluster: ClusterHook, prometheus: PrometheusHook, retirement: Retirement) -> None:
        self.cluster = cluster
        self.prometheus = prometheus
        self.plan, self.name, self.action = retirement.plan, retirement.name, retirement.action
        self.objects = retirement.objects

    @abstractmethod
    def user(self) -> str:
        """Why it is in use; empty when it is not."""

    def look(self, now: float, seconds: int) -> Look:
        if user := self.user():
            return Look(now, user)
        try:
            return self._activity(now, seconds)
        except PrometheusUnavailable as error:
            return Look(now, str(error))

    @abstractmethod
    def _activity(self, now: float, seconds: int) -> Look:
        """What ran in it in the last `seconds`."""

    def _samples(self, now: float, seconds: int) -> tuple[list[Object], str]:
        """What the subject's processes said, and the label of their pods."""
        metric_set = load_metric_set(self.plan.metrics)
        query = activity_query(metric_set, self.plan.arm(self.name), seconds)
        return self.prometheus.query(query, now - self.plan.analysis.lag), metric_set.pod

    def _guard(self) -> None:
        if user := self.user():
            raise RetirementRefused(
                f"{user}. Nothing more of {self.name} is taken away, and no traffic was moved. "
                "When it serves nobody again, clear task check."
            )


class PoolSubject(_Subject):
    """A pool that a rollout of the plan created, with all that came with it."""

    plan: PoolPlan

    def find(self) -> tuple[Doomed, ...]:
        pool = self.name
        if user := self.user():
            raise RetirementRefused(f"{user}: it is not retired.")
        why = sole_backend(self._routes(), pool, self.plan.namespace)
        if why and self.action is Action.REMOVE:
            raise RetirementRefused(f"{why[:1].upper()}{why[1:]}; take the rule away first.")
        found = doomed(self._created(), self.plan.name)
        live = find_pool(self.cluster, pool)
        if live is not None and not any(thing.kind == live["kind"] for thing in found):
            raise RetirementRefused(by_hand(self.plan, pool))
        if not found:
            raise RetirementRefused(f"No rollout of plan {self.plan.name} created anything called {pool}.")
        return found

    def user(self) -> str:
        return user_of_pool(self._routes(), self.name, self.plan.namespace)

    def _activity(self, now: float, seconds: int) -> Look:
        pods = pods_of(self.cluster, self.name)
        if not pods:
            return Look(now, "")
        samples, label = self._samples(now, seconds)
        return pool_look(now, samples, label, {pod["metadata"]["name"] for pod in ready_pods(pods)})

    def proceed(self) -> Readiness:
        """Route, pool and what came with it, pods, workload, nodes: in this order."""
        if self.action is Action.REMOVE:
            self._detach()
            for thing in self.objects:
                if thing.kind not in WORKLOAD:
                    self._delete(thing)
        for thing, deployment in self._deployments():
            self._scale_down(thing, deployment)
        if pods := self._pods():
            return Readiness(Phase.WAITING, f"pods of {self.name} still end: {', '.join(pods)}")
        if self.action is Action.REMOVE:
            for thing in self.objects:
                self._delete(thing)
        return self._release_nodes()

    def _routes(self) -> list[Object]:
        """Those of all namespaces where that may be read, since any of them may name the pool."""
        try:
            return self.cluster.select_everywhere(GATEWAY_API, "HTTPRoute")
        except ClusterRefused as error:
            log.info("only the routes of namespace %s are looked at: %s", self.plan.namespace, error)
            return self.cluster.select(GATEWAY_API, "HTTPRoute")

    def _created(self) -> list[Object]:
        """Everything in the cluster that carries the labels of this plan and pool."""
        labels = owner_labels(self.plan.name, self.name)
        kinds = dict.fromkeys((template["apiVersion"], template["kind"]) for template in load_manifests())
        served = [(api, kind) for api, kind in kinds if self.cluster.serves(api, kind)]
        applied = [thing for api, kind in served for thing in self.cluster.select(api, kind, labels)]
        return [*applied, *bound_to(self.cluster, self.name)]

    def _pods(self) -> list[str]:
        return [
            pod["metadata"]["name"]
            for _, deployment in self._deployments()
            for pod in self.cluster.select("v1", "Pod", deployment["spec"]["selector"]["matchLabels"])
        ]

    def _release_nodes(self) -> Readiness:
        """Give back the nodes that rollouts of the plan created for this pool, unless others work there."""
        selector = self.plan.nodes.selector_for(self.name)
        nodes = {node["metadata"]["name"] for node in self.cluster.select("v1", "Node", selector)}
        pods = self.cluster.select_everywhere("v1", "Pod") if nodes else []
        resource = self.plan.workload.accelerator.resource
        if others := [pod["metadata"]["name"] for pod in pods if uses_accelerator(pod, nodes, resource)]:
            return Readiness(Phase.READY, f"the nodes stay: {', '.join(others)} run there")
        self._guard()
        return provisioner_of(self.cluster, self.plan, self.name, None).take_back()

    def _detach(self) -> None:
        namespace = self.plan.namespace
        for name in [route["metadata"]["name"] for route in self.cluster.select(GATEWAY_API, "HTTPRoute")]:
            for attempt in range(1, ATTEMPTS + 1):
                self._guard()
                route = self.cluster.get(GATEWAY_API, "HTTPRoute", name)
                if user := user_of_pool([route], self.name, namespace):
                    raise RetirementRefused(user)
                if not (patch := detach_patch(route, self.name, namespace)):
                    break
                try:
                    route = self.cluster.patch(GATEWAY_API, "HTTPRoute", name, patch)
                except PatchRefused:
                    if attempt == ATTEMPTS:
                        raise
                    continue
                self.cluster.event(route, "PoolDetached", f"{self.name} had no traffic and is being retired")
                break

    def _delete(self, thing: Doomed) -> None:
        """Delete an object, if it is still the one that was found."""
        live = self._live(thing)
        if live is None:
            return
        self._guard()
        self.cluster.delete(live)
        log.info("deleted %s", thing)
        self.cluster.event(live, "Retired", f"deleted: {self.name} of plan {self.plan.name} is retired")

    def _scale_down(self, thing: Doomed, deployment: Object) -> None:
        before = deployment["spec"].get("replicas", 1)
        if not before:
            return
        self._guard()
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": thing.uid},
            {"op": "test", "path": "/spec/replicas", "value": before},
            {"op": "replace", "path": "/spec/replicas", "value": 0},
        ]
        live = self.cluster.patch(thing.api, thing.kind, thing.name, patch)
        self.cluster.event(live, "ScaledDown", f"from {before} to 0 pods: {self.name} serves nobody")

    def _deployments(self) -> Iterator[tuple[Doomed, Object]]:
        for thing in self.objects:
            if thing.kind == "Deployment" and (live := self._live(thing)) is not None:
                yield thing, live

    def _live(self, thing: Doomed) -> Object | None:
        """The object, None when it is gone or another one has its name now."""
        live = self.cluster.find(thing.api, thing.kind, thing.name)
        return live if live is not None and live["metadata"]["uid"] == thing.uid else None


class AdapterSubject(_Subject):
    """A LoRA adapter: it is unloaded on every pod of its pool. No object of the cluster goes."""

    plan: AdapterPlan

    def find(self) -> tuple[Doomed, ...]:
        if user := self.user():
            raise RetirementRefused(f"{user}: it is not unloaded.")
        return ()

    def user(self) -> str:
        return user_of_adapter(bound_to(self.cluster, self.plan.pool), self.name)

    def _activity(self, now: float, seconds: int) -> Look:
        samples, label = self._samples(now, seconds)
        return adapter_look(now, samples, label, self.plan.pool)

    def proceed(self) -> Readiness:
        pool = find_pool(self.cluster, self.plan.pool)
        if pool is None:
            return Readiness(Phase.READY, f"there is no InferencePool {self.plan.pool} any more")
        for pod in ready_pods(pods_of(self.cluster, self.plan.pool)):
            for port in ports(pool):
                self._guard()
                unload_adapter(f"http://{pod['status']['podIP']}:{port}", self.name)
                log.info("unloaded %s on %s", self.name, pod["metadata"]["name"])
        text = f"{self.name} had no requests and was unloaded on every pod"
        self.cluster.event(pool, "AdapterUnloaded", text)
        return Readiness(Phase.READY, text)
