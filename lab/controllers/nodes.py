"""Node loss: a node that is not ready is tainted, its pods are evicted; pods without a node are removed."""

from __future__ import annotations

from lab.controllers.placement import tolerates
from lab.kube.client import KubeError
from lab.kube.clock import age, now, stamp
from lab.kube.conditions import condition, find, settle
from lab.kube.objects import Obj, key_of, path_of, path_of_object
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

MANAGER = "kube-controller-manager"
COMPONENT = "node-controller"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
LOOK_AGAIN = 2.0


class Nodes:
    """Reconciles Nodes. In seconds: `grace` is how old a node's lease may be before the node counts as
    lost, `patience` how long pods then stay bound to it.
    """

    def __init__(self, store: Store, grace: float, patience: float) -> None:
        self._store = store
        self._grace = grace
        self._patience = patience
        self.loop: Loop[tuple[str, str]] = Loop("node", self._reconcile)
        self.orphans: Loop[tuple[str, str]] = Loop("pod garbage", self._collect)
        store.on_change("Node", self._changed)
        store.on_change("Pod", lambda pod: self.orphans.add(key_of(pod)))

    def _changed(self, node: Obj) -> None:
        self.loop.add(key_of(node))
        for pod in self._store["Pod"].items.values():
            if pod["spec"].get("nodeName") == node["metadata"]["name"]:
                self.orphans.add(key_of(pod))

    async def _reconcile(self, key: tuple[str, str]) -> float | None:
        node = self._store["Node"].get(*key)
        if node is None:
            return None
        node = await self._judge_heartbeat(node)
        ready = find(node.get("status", {}).get("conditions"), "Ready")
        if ready is None:
            return None
        taint = {"True": None, "False": NOT_READY}.get(ready["status"], UNREACHABLE)
        await self._taint(node, taint)
        if taint is None:
            return LOOK_AGAIN
        left = self._patience - age(ready["lastTransitionTime"], now())
        if left > 0:
            return min(left, LOOK_AGAIN)
        await self._evict(node, taint)
        return LOOK_AGAIN

    async def _judge_heartbeat(self, node: Obj) -> Obj:
        """A node whose lease has run out is in state Unknown, whatever it said last."""
        name = node["metadata"]["name"]
        try:
            lease = await self._store.kube.get(path_of("Lease", "kube-node-lease", name))
        except KubeError as error:
            if error.status == 404:
                return node
            raise
        conditions = node["status"].get("conditions") or []
        ready = find(conditions, "Ready")
        if ready is None or ready["status"] == "Unknown":
            return node
        if age(lease["spec"]["renewTime"], now()) < self._grace:
            return node
        unknown = condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
        changed = settle(conditions, [unknown], now())
        await self._store.event(
            node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady", COMPONENT
        )
        return await self._store.patch(
            node, {"status": {"conditions": changed}}, MANAGER, "strategic", "status"
        )

    async def _taint(self, node: Obj, key: str | None) -> None:
        before = node["spec"].get("taints") or []
        ours = [taint for taint in before if taint["key"] in (NOT_READY, UNREACHABLE)]
        if {taint["key"] for taint in ours} == ({key} if key else set()):
            return
        after = [taint for taint in before if taint not in ours]
        if key:
            after.append({"key": key, "effect": "NoSchedule", "timeAdded": stamp()})
            after.append({"key": key, "effect": "NoExecute", "timeAdded": stamp()})
        version = node["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"taints": after}}
        await self._store.patch(node, body, MANAGER)

    async def _evict(self, node: Obj, taint: str) -> None:
        for pod in list(self._store["Pod"].items.values()):
            bound = pod["spec"].get("nodeName") == node["metadata"]["name"]
            if not bound or "deletionTimestamp" in pod["metadata"] or _stays(pod, taint):
                continue
            message = f"Marking for deletion Pod {'/'.join(key_of(pod))}"
            await self._store.event(
                pod, "Normal", "TaintManagerEviction", message, "taint-eviction-controller"
            )
            await self._store.delete(pod)

    async def _collect(self, key: tuple[str, str]) -> None:
        """Remove a pod that no kubelet will ever end: its node is gone, or it never had one."""
        pod = self._store["Pod"].get(*key)
        if pod is None:
            return
        node = pod["spec"].get("nodeName")
        if node and self._store["Node"].get("", node):
            return
        if not node and "deletionTimestamp" not in pod["metadata"]:
            return
        if node and await self._exists(node):
            return
        await self._store.kube.delete(
            path_of_object(pod), gracePeriodSeconds=0, preconditions={"uid": pod["metadata"]["uid"]}
        )

    async def _exists(self, node: str) -> bool:
        try:
            await self._store.kube.get(path_of("Node", None, node))
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        return True


def _stays(pod: Obj, taint: str) -> bool:
    """Whether the pod tolerates the loss of its node without end."""
    lost = {"key": taint, "effect": "NoExecute"}
    tolerations = pod["spec"].get("tolerations") or []
    return any(tolerates(each, lost) and each.get("tolerationSeconds") is None for each in tolerations)
