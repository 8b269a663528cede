"""Provisioning nodes: one small interface, three ways. Every verb may be repeated, and killed midway."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from inference_rollouts.clients import Clients
from inference_rollouts.clients.kubernetes import Cluster
from inference_rollouts.core.errors import ClusterRefused, GkeBusy
from inference_rollouts.core.nodes import gke
from inference_rollouts.core.nodes.provisioners import ComputeClass, NodePool
from inference_rollouts.core.objects.api_groups import COMPUTE_CLASS_API
from inference_rollouts.core.objects.k8s import K8sObject, part
from inference_rollouts.core.objects.ownership import RUN_LABEL, is_ours, run_label
from inference_rollouts.core.objects.readiness import Phase, Readiness, Replicas, nodes_readiness
from inference_rollouts.core.plan.plan import PoolPlan
from inference_rollouts.core.run.demand import replicas_wanted
from inference_rollouts.core.run.manifests import owned
from inference_rollouts.rollout.turn import take_turn

if TYPE_CHECKING:  # a client is used by few who may
    from inference_rollouts.clients.gke import GkeClient

log = logging.getLogger(__name__)


class Provisioner(Protocol):
    """Nodes for one pool. Nothing that was there before, or that others made, is changed or deleted."""

    def check(self) -> None:
        """Raises ClusterRefused when it cannot work. Writes nothing."""

    def request(self) -> None:
        """Ask for the nodes, unless they are there or on their way."""

    def readiness(self) -> Readiness:
        """How far it is."""

    def take_back(self) -> Readiness:
        """Delete what was created for the pool; ready when it is gone."""


def provisioner_of(
    clients: Clients, plan: PoolPlan, pool: str, run: str | None, manifests: Sequence[K8sObject] = ()
) -> Provisioner:
    """How the plan provisions nodes for `pool`. `take_back` deletes what `run` created; None: any run.

    `manifests` are those of the pods for which there is to be room.
    """
    wanted = replicas_wanted(plan, manifests)
    match plan.nodes:
        case ComputeClass():
            return _ComputeClass(clients.cluster, plan, pool, run, wanted)
        case NodePool() as nodes:
            api = clients.gke(nodes.cluster)
            return _NodePool(clients.cluster, plan, pool, run, wanted, api, nodes)
        case _:
            return _Existing(clients.cluster, plan, pool, run, wanted)


class Present:
    """The nodes of a pool that runs on them already."""

    def check(self) -> None:
        """Nothing is needed."""

    def request(self) -> None:
        """Nothing is needed."""

    def readiness(self) -> Readiness:
        """They are there."""
        return Readiness(Phase.READY, "the pool has its nodes already")

    def take_back(self) -> Readiness:
        """Nothing was created."""
        return Readiness(Phase.READY, "no nodes were created")


@dataclass(frozen=True, slots=True)
class _Existing:
    """Nodes that are there, or that somebody else provisions; whoever wants the same takes turns."""

    cluster: Cluster
    plan: PoolPlan
    pool: str
    run: str | None
    wanted: tuple[Replicas, ...]

    def check(self) -> None:
        pass

    def request(self) -> None:
        pass

    def readiness(self) -> Readiness:
        nodes = self.nodes_readiness()
        if nodes.phase is not Phase.READY:
            return nodes
        turn = take_turn(self.cluster, self.plan, self.pool, sum(each.count for each in self.wanted))
        return Readiness(turn.phase, f"{nodes.message}; {turn.message}")

    def nodes_readiness(self) -> Readiness:
        """Whether there are enough free accelerators, for whomever."""
        plan = self.plan
        meant, nodes = plan.nodes.selector_for(self.pool).items(), self.cluster.select("v1", "Node")
        pods = self.cluster.select_everywhere("v1", "Pod")
        here = [node for node in nodes if meant <= part(node, "metadata", "labels").items()]
        others = [node for node in nodes if node not in here]
        return nodes_readiness(here, pods, self.wanted, plan.pod_labels(self.pool), others)

    def take_back(self) -> Readiness:
        return Readiness(Phase.READY, "no nodes were created")


class _ComputeClass(_Existing):
    """GKE provisions the nodes once there are pods: there is nothing to wait for before."""

    __slots__ = ()

    def check(self) -> None:
        name = self._nodes.name_for(self.pool)
        if not self.cluster.serves(COMPUTE_CLASS_API, "ComputeClass"):
            raise ClusterRefused(f"The cluster serves no ComputeClass of {COMPUTE_CLASS_API}; is it GKE's?")
        live = self._live()
        if not self._nodes.machines:
            if live is None:
                raise ClusterRefused(f"There is no ComputeClass {name}; create it, or give machines for one.")
            return
        if live is not None and not is_ours(live, self.plan.name):
            raise ClusterRefused(
                f"ComputeClass {name} exists and is not this plan's; choose another name for the canary."
            )
        self.cluster.apply(self._manifest(live), dry_run=True)

    def request(self) -> None:
        self.check()
        if self._nodes.machines:
            self.cluster.apply(self._manifest(self._live()))
            log.info("applied ComputeClass %s", self.pool)

    def readiness(self) -> Readiness:
        live = self._live()
        if live is None:
            return Readiness(Phase.FAILED, f"ComputeClass {self._nodes.name_for(self.pool)} is gone")
        for condition in live.get("status", {}).get("conditions") or ():
            if (condition["type"], condition["status"]) == ("Health", "False"):
                why = f"{condition.get('reason')}: {condition.get('message')}"
                return Readiness(
                    Phase.WAITING, f"ComputeClass {live['metadata']['name']} is unhealthy: {why}"
                )
        nodes = self.nodes_readiness().message
        name = live["metadata"]["name"]
        return Readiness(
            Phase.READY, f"ComputeClass {name} will bring nodes for pods that need them ({nodes})"
        )

    def take_back(self) -> Readiness:
        live = self._live()
        created = live is not None and bool(self._nodes.machines) and is_ours(live, self.plan.name)
        if live is None or not created or (self.run and self._run_of(live) != run_label(self.run)):
            return Readiness(Phase.READY, "no compute class is left of this rollout")
        self.cluster.delete(live)
        return Readiness(Phase.READY, f"ComputeClass {live['metadata']['name']} was deleted")

    @property
    def _nodes(self) -> ComputeClass:
        assert isinstance(self.plan.nodes, ComputeClass)
        return self.plan.nodes

    def _live(self) -> K8sObject | None:
        return self.cluster.find(COMPUTE_CLASS_API, "ComputeClass", self._nodes.name_for(self.pool))

    def _manifest(self, live: K8sObject | None) -> K8sObject:
        """With the label of the run that created it: a later one must not delete it when it fails."""
        manifest = owned(self._nodes.manifest(self.pool), self.plan.name)
        creator = self._run_of(live) if live else run_label(self.run or "")
        labels = {**manifest["metadata"]["labels"], RUN_LABEL: creator}
        return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}

    @staticmethod
    def _run_of(live: K8sObject) -> str:
        return str((live["metadata"].get("labels") or {}).get(RUN_LABEL, ""))


@dataclass(frozen=True, slots=True)
class _NodePool:
    """A node pool through GKE's API."""

    cluster: Cluster
    plan: PoolPlan
    pool: str
    run: str | None
    wanted: tuple[Replicas, ...]
    api: GkeClient
    nodes: NodePool

    def check(self) -> None:
        if wrong := gke.slice_mistake(self.nodes, self._needed):
            raise ClusterRefused(wrong)
        self.api.check_cluster()
        if (pool := self.api.find_node_pool(self.pool)) is not None:
            self._check_ours(pool)

    def request(self) -> None:
        pool, newest = self._state()
        try:
            if pool is None and not gke.is_active(newest):
                self.api.create_node_pool(self._body())
                log.info("asked for node pool %s in %s", self.pool, self.nodes.cluster)
            elif pool is not None:
                self._check_ours(pool)
                if gke.pool_readiness(self.pool, pool, newest).phase is Phase.FAILED:
                    log.info("deleting what is left of an earlier attempt")
                    self.api.delete_node_pool(self.pool)
        except GkeBusy as error:
            log.info("asking again soon: %s", error)

    def readiness(self) -> Readiness:
        pool, newest = self._state()
        answer = gke.pool_readiness(self.pool, pool, newest)
        if pool is None and answer.phase is Phase.WAITING and not gke.is_active(newest):
            self.request()
        if answer.phase is not Phase.READY:
            return answer
        nodes = _Existing(self.cluster, self.plan, self.pool, self.run, self.wanted).nodes_readiness()
        return Readiness(nodes.phase, f"{answer.message}; {nodes.message}")

    def take_back(self) -> Readiness:
        pool, newest = self._state()
        if pool is None and not gke.is_active(newest):
            return Readiness(Phase.READY, f"node pool {self.pool} is gone")
        if pool is not None and not self._is_to_be_deleted(pool):
            return Readiness(Phase.READY, f"node pool {self.pool} was not created by this run and stays")
        if pool is not None and pool.get("status") != "STOPPING":
            try:
                self.api.delete_node_pool(self.pool)
            except GkeBusy as error:
                return Readiness(Phase.WAITING, f"node pool {self.pool} cannot be deleted yet: {error}")
        return Readiness(Phase.WAITING, f"node pool {self.pool} is being deleted")

    def _state(self) -> tuple[gke.GkeObject | None, gke.GkeObject | None]:
        """The node pool, and the newest operation on it."""
        newest = gke.newest_operation(self.api.operations(), self.nodes.cluster, self.pool)
        return self.api.find_node_pool(self.pool), newest

    def _body(self) -> gke.GkeObject:
        label = run_label(self.run or "")
        return gke.node_pool_body(self.nodes, self.pool, self._needed, self.plan.name, label)

    @property
    def _needed(self) -> int:
        """Accelerators of all replicas."""
        return sum(each.count * each.each for each in self.wanted)

    def _check_ours(self, pool: gke.GkeObject) -> None:
        if not gke.is_ours(pool, self.plan.name):
            raise ClusterRefused(
                f"Node pool {self.pool} exists and is not this plan's; choose another name for the canary."
            )
        if not gke.has_machines(pool, self.nodes):
            raise ClusterRefused(
                f"Node pool {self.pool} is left of an earlier rollout and has other machines; "
                "delete it, or choose another name for the canary."
            )

    def _is_to_be_deleted(self, pool: gke.GkeObject) -> bool:
        if self.run is None:
            return gke.is_ours(pool, self.plan.name)
        return gke.is_of_run(pool, self.plan.name, run_label(self.run))
