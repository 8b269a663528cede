"""Take away what a rollout left behind: a pool, or an adapter. Every verb may be repeated at any time.

Before each write that cannot be undone it is read again who uses the pool; a use stops everything.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Generic, Protocol, TypeVar

from inference_rollouts.clients import Clients
from inference_rollouts.clients.include import load_manifests, load_metric_set
from inference_rollouts.core.errors import (
    Forbidden,
    NotFound,
    PrometheusUnavailable,
    RetirementRefused,
)
from inference_rollouts.core.judging.arms import Arm
from inference_rollouts.core.judging.home import Known
from inference_rollouts.core.judging.metrics import MetricSet
from inference_rollouts.core.judging.own import of_own
from inference_rollouts.core.judging.raw_series import Sample
from inference_rollouts.core.objects.api_groups import ATTACHED, GATEWAY_API, NOT_ATTACHED
from inference_rollouts.core.objects.inference_pool import ports
from inference_rollouts.core.objects.k8s import K8sObject
from inference_rollouts.core.objects.ownership import owner_labels
from inference_rollouts.core.objects.readiness import Phase, Readiness, ready_pods
from inference_rollouts.core.objects.workload_kinds import (
    WORKLOAD_KINDS,
    WORKLOADS,
    replicas_of,
)
from inference_rollouts.core.plan.plan import AdapterPlan, PoolPlan
from inference_rollouts.core.plan.retention import Action
from inference_rollouts.core.reporting.text import capital
from inference_rollouts.core.retirement.idle import (
    Observation,
    activity_query,
    observed_adapter,
    observed_pool,
    untold,
)
from inference_rollouts.core.retirement.retirement import (
    RetiredObject,
    Retirement,
    by_hand,
    detach_patch,
    retired_objects,
    sole_backend,
    user_among_others,
    user_of_adapter,
    user_of_pool,
    uses_accelerator,
)
from inference_rollouts.core.routing.floors import SCALERS
from inference_rollouts.core.routing.patches import Patch
from inference_rollouts.core.routing.weights import Target
from inference_rollouts.rollout.availability import picker_pods
from inference_rollouts.rollout.nodes import provisioner_of
from inference_rollouts.rollout.pods import base_url, pods_of
from inference_rollouts.rollout.ports import ports_of_pool
from inference_rollouts.rollout.targets import bound_to, find_pool, other_routes
from inference_rollouts.rollout.workloads import pods_of_workload
from inference_rollouts.rollout.writer import Decide, Writer

PODS = WORKLOAD_KINDS | {"Service"}
AUTOSCALERS = frozenset(each.kind for each in SCALERS)

log = logging.getLogger(__name__)

P = TypeVar("P", PoolPlan, AdapterPlan)


class Subject(Protocol):
    """What is retired."""

    def find(self) -> tuple[RetiredObject, ...]:
        """The objects that go. Raises RetirementRefused when it may not be taken away at all."""

    def observe(self, seconds: float, since: float | None = None) -> Observation:
        """Is it quiet: who uses it now, and what ran in it from `seconds` before `since`, or before now.

        Times, that of the observation too, are those of the API server's clock.
        """

    def reconcile(self) -> Readiness:
        """Take away what may go now; to be called until it is ready. Raises RetirementRefused when in use."""


class _Subject(ABC, Generic[P]):
    def __init__(self, clients: Clients, plan: P, retirement: Retirement) -> None:
        self.clients = clients
        self.cluster = clients.cluster
        self.plan: P = plan
        self.name, self.action = retirement.name, retirement.action
        self.objects = retirement.objects

    @abstractmethod
    def user(self) -> str:
        """Why it is in use; empty when it is not."""

    def observe(self, seconds: float, since: float | None = None) -> Observation:
        user = self.user()
        now = self.cluster.time()  # which has just been asked
        if user:
            return Observation(now, user)
        try:
            return self._activity(now, math.ceil(seconds + (0.0 if since is None else now - since)))
        except PrometheusUnavailable as error:
            return Observation(now, str(error))

    @abstractmethod
    def _activity(self, now: float, seconds: int) -> Observation:
        """What ran in it in the last `seconds`."""

    def _exported(self, seconds: int) -> list[Sample]:
        """What the subject's processes exported, and those of others of its name, by the store's clock."""
        query, store = activity_query(self._metrics, self._arm, seconds), self.clients.prometheus
        answer = store.query(query, store.time() - self.plan.analysis.scrape_delay)
        return [(each["metric"], float(each["value"][1])) for each in answer]

    def _by(
        self, pods: Iterable[K8sObject], samples: Sequence[Sample], now: float
    ) -> tuple[list[Sample], frozenset[str]]:
        """Those of these pods alone; and which pods have namesakes and are not told from them."""
        known = {pod["metadata"]["name"]: Known.of(pod, now) for pod in pods}
        return of_own(samples, self._metrics.pod, known, self._arm)

    @cached_property
    def _metrics(self) -> MetricSet:
        return load_metric_set(*self.plan.metrics)

    @property
    def _arm(self) -> Arm:
        return self.plan.arm(self.name)

    def _guard(self) -> None:
        if user := self.user():
            raise self._refused(user)

    def _refused(self, user: str) -> RetirementRefused:
        return RetirementRefused(
            f"{user}. Nothing more of {self.name} is taken away, and no traffic was moved. "
            "When it serves nobody again, clear task check."
        )


class PoolSubject(_Subject[PoolPlan]):
    """A pool that a rollout of the plan created, with all that came with it."""

    _sees_all_routes = False

    def find(self) -> tuple[RetiredObject, ...]:
        pool = self.name
        if user := self.user():
            raise RetirementRefused(f"{user}: it is not retired.")
        why = sole_backend(self._routes(), pool, self.plan.namespace)
        if why and self.action is Action.REMOVE:
            raise RetirementRefused(f"{capital(why)}; take the rule away first.")
        objects = retired_objects(self._created(), self.plan.name)
        live = find_pool(self.cluster, pool)
        if live is not None and not any(obj.kind == live["kind"] for obj in objects):
            raise RetirementRefused(by_hand(self.plan, pool))
        if not objects:
            raise RetirementRefused(f"No rollout of plan {self.plan.name} created anything called {pool}.")
        return objects

    def user(self) -> str:
        where = self.name, self.plan.namespace
        return user_of_pool(self._routes(), *where) or user_among_others(other_routes(self.cluster), *where)

    def _activity(self, now: float, seconds: int) -> Observation:
        pods = pods_of(self.cluster, self.name)
        if not pods:
            return Observation(now, "")
        several = ports_of_pool(self.cluster, self.name)
        ours, mixed = self._by(pods, self._exported(seconds), now)
        if mixed:
            return untold(now, mixed)
        return observed_pool(now, ours, self._metrics.pod, _names(ready_pods(pods)), several)

    def reconcile(self) -> Readiness:
        """Route, pool and what came with it, pods, workload, nodes: in this order."""
        if self.action is Action.REMOVE:
            self._detach()
            for obj in self.objects:
                if obj.kind not in PODS:
                    self._delete(obj)
        for obj in self.objects:
            if obj.kind in AUTOSCALERS:  # which would scale it up again; the next rollout copies them anew
                self._delete(obj)
        for obj, workload in self._workloads():
            self._scale_down(obj, workload)
        if pods := self._pods():
            return Readiness(Phase.WAITING, f"pods of {self.name} still end: {', '.join(pods)}")
        if self.action is Action.REMOVE:
            for obj in self.objects:
                self._delete(obj)
        return self._release_nodes()

    def _routes(self) -> list[K8sObject]:
        """Those of all namespaces where that may be read, since any of them may name the pool.

        That it is forbidden is an answer here, not an accident: most installations do not allow it. Where it
        was allowed before, it is an accident.
        """
        try:
            routes = self.cluster.select_everywhere(GATEWAY_API, "HTTPRoute")
        except Forbidden as error:
            if self._sees_all_routes:
                raise
            log.info("only the routes of namespace %s are looked at: %s", self.plan.namespace, error)
            return self.cluster.select(GATEWAY_API, "HTTPRoute")
        self._sees_all_routes = True
        return routes

    def _created(self) -> list[K8sObject]:
        """Everything in the cluster that carries the labels of this plan and pool."""
        labels = owner_labels(self.plan.name, self.name)
        templates = [(template["apiVersion"], template["kind"]) for template in load_manifests()]
        extensions = [each for each in self.cluster.extensions().kinds if each[1] not in NOT_ATTACHED]
        kinds = dict.fromkeys([*templates, *WORKLOADS, *ATTACHED, *extensions])
        applied = [obj for api, kind in kinds for obj in self._of_kind(api, kind, labels)]
        bound = {(obj["kind"], obj["metadata"]["name"]): obj for obj in bound_to(self.cluster, self.name)}
        return [*applied, *(obj for key, obj in bound.items() if key not in _titles(applied))]

    def _of_kind(self, api: str, kind: str, labels: Mapping[str, str]) -> list[K8sObject]:
        """The objects of a kind with these labels; what may not be listed was not created either."""
        if not self.cluster.serves(api, kind):
            return []
        try:
            return self.cluster.select(api, kind, labels)
        except Forbidden as error:
            log.info("%s", error)
            return []

    def _pods(self) -> list[str]:
        return [
            pod["metadata"]["name"]
            for _, workload in self._workloads()
            for pod in pods_of_workload(self.cluster, workload)
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
        return provisioner_of(self.clients, self.plan, self.name, None).take_back()

    def _detach(self) -> None:
        """Take the pool out of every route of its namespace that names it."""
        for route in self.cluster.select(GATEWAY_API, "HTTPRoute"):
            self._detach_from(route["metadata"]["name"])

    def _detach_from(self, name: str) -> None:

        def decide(route: K8sObject) -> Patch:
            if not (patch := detach_patch(route, self.name, self.plan.namespace)):
                return []
            self._guard()
            if user := user_of_pool([route], self.name, self.plan.namespace):
                raise self._refused(user)
            return patch

        self._write(
            Target(GATEWAY_API, "HTTPRoute", name),
            decide,
            "PoolDetached",
            f"{self.name} had no traffic and is being retired",
        )

    def _delete(self, obj: RetiredObject) -> None:
        """Delete an object, if it is still the one that was read."""
        live = self._live(obj)
        if live is None:
            return
        self._guard()
        self.cluster.delete(live)
        log.info("deleted %s", obj)
        self.cluster.event(live, "Retired", f"deleted: {self.name} of plan {self.plan.name} is retired")

    def _scale_down(self, obj: RetiredObject, workload: K8sObject) -> None:
        before = replicas_of(workload)

        def decide(live: K8sObject) -> Patch:
            if live["metadata"]["uid"] != obj.uid or not replicas_of(live):
                return []
            self._guard()
            return [
                {"op": "test", "path": "/metadata/uid", "value": obj.uid},
                {"op": "test", "path": "/spec/replicas", "value": replicas_of(live)},
                {"op": "replace", "path": "/spec/replicas", "value": 0},
            ]

        text = f"from {before} to 0 pods: {self.name} serves nobody"
        self._write(Target(obj.api, obj.kind, obj.name), decide, "ScaledDown", text)

    def _write(self, target: Target, decide: Decide, reason: str, text: str) -> None:
        """Write what `decide` says to an object that is there, and tell of it."""
        with suppress(NotFound):
            written = Writer(self.cluster).write(target, decide)
            if written.wrote:
                self.cluster.event(written.obj, reason, text)

    def _workloads(self) -> Iterator[tuple[RetiredObject, K8sObject]]:
        for obj in self.objects:
            if obj.kind in WORKLOAD_KINDS and (live := self._live(obj)) is not None:
                yield obj, live

    def _live(self, obj: RetiredObject) -> K8sObject | None:
        """The object, None when it is gone or another one has its name now."""
        live = self.cluster.find(obj.api, obj.kind, obj.name)
        return live if live is not None and live["metadata"]["uid"] == obj.uid else None


def _titles(objects: Iterable[K8sObject]) -> set[tuple[str, str]]:
    return {(obj["kind"], obj["metadata"]["name"]) for obj in objects}


class AdapterSubject(_Subject[AdapterPlan]):
    """A LoRA adapter: it is unloaded on every pod of its pool. No object of the cluster goes."""

    def find(self) -> tuple[RetiredObject, ...]:
        if user := self.user():
            raise RetirementRefused(f"{user}: it is not unloaded.")
        return ()

    def user(self) -> str:
        return user_of_adapter(bound_to(self.cluster, self.plan.pool), self.name)

    def _activity(self, now: float, seconds: int) -> Observation:
        samples = self._exported(seconds)
        if pickers := picker_pods(self.cluster, self.plan.pool):
            samples, mixed = self._by(pickers, samples, now)
            if mixed:
                return untold(now, mixed)
        return observed_adapter(now, samples, self._metrics.pod, self.plan.pool)

    def reconcile(self) -> Readiness:
        pool = find_pool(self.cluster, self.plan.pool)
        if pool is None:
            return Readiness(Phase.READY, f"there is no InferencePool {self.plan.pool} any more")
        for pod in ready_pods(pods_of(self.cluster, self.plan.pool)):
            for port in ports(pool):
                self._guard()
                self.clients.servers.unload_adapter(base_url(pod, port), self.name)
                log.info("unloaded %s on %s", self.name, pod["metadata"]["name"])
        text = f"{self.name} had no requests and was unloaded on every pod"
        self.cluster.event(pool, "AdapterUnloaded", text)
        return Readiness(Phase.READY, text)


def _names(pods: Iterable[K8sObject]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}
