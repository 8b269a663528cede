"""Pods -> Nodes."""

from __future__ import annotations

from lab.controllers.placement import place
from lab.kube.client import KubeError
from lab.kube.clock import created, now
from lab.kube.conditions import condition, find, settle
from lab.kube.objects import Obj, key_of, path_of_object
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

MANAGER = "kube-scheduler"
COMPONENT = "default-scheduler"


class Scheduler:
    """Binds pods that wait for a node; all that wait are tried again when anything makes room."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loop: Loop[tuple[str, str]] = Loop("scheduler", self._schedule)
        store["Pod"].subscribe(self._pod_changed)
        store["Node"].subscribe(self._node_changed)

    def _pod_changed(self, before: Obj | None, after: Obj | None) -> None:
        if after is None or (before and _holds(before) and not _holds(after)):
            self._try_all()
        elif before is None and _waits(after):
            self.loop.add(key_of(after))

    def _node_changed(self, before: Obj | None, after: Obj | None) -> None:
        if after and (before is None or _capacity(before) != _capacity(after)):
            self._try_all()

    def _try_all(self) -> None:
        waiting = [pod for pod in self._store["Pod"].items.values() if _waits(pod)]
        for pod in sorted(waiting, key=created):
            self.loop.add(key_of(pod))

    async def _schedule(self, key: tuple[str, str]) -> None:
        pod = self._store["Pod"].get(*key)
        if pod is None or not _waits(pod):
            return
        nodes = list(self._store["Node"].items.values())
        placement = place(pod, nodes, self._store["Pod"].items.values())
        if placement.node:
            await self._bind(pod, placement.node)
        else:
            await self._explain(pod, placement.message)

    async def _bind(self, pod: Obj, node: str) -> None:
        namespace, name = key_of(pod)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self._store.kube.create(path_of_object(pod, "binding"), binding, fieldManager=MANAGER)
        except KubeError as error:
            if error.status != 404:
                raise
            return
        self._store["Pod"].observe(await self._store.kube.get(path_of_object(pod)))
        message = f"Successfully assigned {namespace}/{name} to {node}"
        await self._store.event(pod, "Normal", "Scheduled", message, COMPONENT)

    async def _explain(self, pod: Obj, message: str) -> None:
        conditions = pod.get("status", {}).get("conditions") or []
        before = find(conditions, "PodScheduled")
        if before and (before["reason"], before["message"]) == ("Unschedulable", message):
            return
        why = condition("PodScheduled", False, "Unschedulable", message)
        why["lastProbeTime"] = None
        changed = settle(conditions, [why], now())
        await self._store.patch(pod, {"status": {"conditions": changed}}, MANAGER, "strategic", "status")
        await self._store.event(pod, "Warning", "FailedScheduling", message, COMPONENT)


def _holds(pod: Obj) -> bool:
    """Whether the pod has not ended, and so holds what it asked for."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _waits(pod: Obj) -> bool:
    spec = pod["spec"]
    ours = spec.get("schedulerName", "default-scheduler") == "default-scheduler"
    return ours and _holds(pod) and not spec.get("nodeName") and "deletionTimestamp" not in pod["metadata"]


def _capacity(node: Obj) -> tuple[object, ...]:
    spec = node["spec"]
    labels, allocatable = node["metadata"].get("labels"), node.get("status", {}).get("allocatable")
    return spec.get("taints"), spec.get("unschedulable"), labels, allocatable
