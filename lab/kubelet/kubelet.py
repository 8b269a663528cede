"""Follows the API: a worker for every pod that is bound to a node, a heartbeat for every node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress

from lab.kube.objects import Obj, key_of
from lab.kubelet.addresses import AddressesExhausted
from lab.kubelet.node import HEARTBEAT, Machine
from lab.kubelet.pod import PodWorker
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

log = logging.getLogger(__name__)

OFFLINE = "inference-rollouts.dev/offline"


class Kubelet:
    """All nodes' kubelets in one. A node annotated `inference-rollouts.dev/offline: "true"` is lost:
    its heartbeat stops and its processes die, until the annotation goes.
    """

    def __init__(self, store: Store, machine: Machine) -> None:
        self._store = store
        self._machine = machine
        self._workers: dict[str, PodWorker] = {}
        self._pods: Loop[tuple[str, str]] = Loop("pod", self._reconcile_pod)
        self._nodes: Loop[tuple[str, str]] = Loop("node", self._reconcile_node)
        store["Pod"].subscribe(self._pod_changed)
        store["Node"].subscribe(self._node_changed)

    async def run(self) -> None:
        """Work until cancelled; the containers die with it, as they do with a machine."""
        try:
            async with asyncio.TaskGroup() as group:
                self._store.watch_all(group)
                await self._store.synced()
                for work in (self._nodes.run(), self._pods.run(), self._machine.write_events()):
                    group.create_task(work)
        finally:
            await asyncio.gather(*(worker.abandon() for worker in self._workers.values()))

    def _pod_changed(self, before: Obj | None, after: Obj | None) -> None:
        self._pods.add(key_of(after or before or {}))

    def _node_changed(self, before: Obj | None, after: Obj | None) -> None:
        node = after or before or {}
        self._nodes.add(key_of(node))
        if (before is None) != (after is None) or _is_offline(before) != _is_offline(after):
            for pod in self._store["Pod"].items.values():
                if pod["spec"].get("nodeName") == node["metadata"]["name"]:
                    self._pods.add(key_of(pod))

    async def _reconcile_node(self, key: tuple[str, str]) -> float | None:
        node = self._store["Node"].get(*key)
        if node is None:
            return None
        if not _is_offline(node):
            await self._machine.beat(node)
        return HEARTBEAT

    async def _reconcile_pod(self, key: tuple[str, str]) -> float | None:
        pod = self._store["Pod"].get(*key)
        uid = pod["metadata"]["uid"] if pod and self._is_ours(pod) else None
        for gone in [other for other in self._at(key) if other != uid]:
            worker = self._workers.pop(gone)
            if not worker.finished:
                await worker.abandon()
        if pod is None or uid is None:
            return None
        if uid in self._workers:
            self._workers[uid].update(pod)
        else:
            with suppress(AddressesExhausted):
                self._workers[uid] = PodWorker(pod, self._machine)
                return None
            self._machine.tell(pod, "Warning", "FailedCreatePodSandBox", "no free pod address")
            return HEARTBEAT
        return None

    def _at(self, key: tuple[str, str]) -> Iterator[str]:
        return (uid for uid, worker in self._workers.items() if key_of(worker.pod) == key)

    def _is_ours(self, pod: Obj) -> bool:
        node = self._store["Node"].get("", pod["spec"].get("nodeName", ""))
        return node is not None and not _is_offline(node)


def _is_offline(node: Obj | None) -> bool:
    return node is not None and (node["metadata"].get("annotations") or {}).get(OFFLINE) == "true"
