"""What the pods of all nodes share, and the heartbeat that keeps each node Ready."""

from __future__ import annotations

import asyncio
import copy
import logging
from dataclasses import dataclass, field

import aiohttp

from lab.kube.client import KubeError
from lab.kube.clock import now, stamp
from lab.kube.conditions import condition, is_true, settle
from lab.kube.objects import Obj, path_of
from lab.kubelet.addresses import Addresses
from lab.model_server.images import Catalogue
from lab.reconcile.store import Store

log = logging.getLogger(__name__)

COMPONENT = "kubelet"
HEARTBEAT = 10.0
LEASE_SECONDS = 40
LEASES = "kube-node-lease"
ACCELERATOR = "cloud.google.com/gke-accelerator"
VERSION = "v1.36.0-lab"


@dataclass
class Machine:
    """The one real machine behind the lab's nodes."""

    store: Store
    catalogue: Catalogue
    addresses: Addresses
    session: aiohttp.ClientSession
    scale: float
    _images: dict[str, set[str]] = field(default_factory=dict)
    _events: asyncio.Queue[tuple[Obj, str, str, str]] = field(default_factory=asyncio.Queue)

    @property
    def host_address(self) -> str:
        """The address of every node."""
        return f"{self.addresses.subnet}.2"

    def pulled(self, node: str) -> set[str]:
        """The images on a node."""
        return self._images.setdefault(node, set())

    def accelerator(self, name: str) -> str:
        """What a node's label says of its accelerators."""
        node = self.store["Node"].get("", name)
        labels = (node or {}).get("metadata", {}).get("labels") or {}
        return str(labels.get(ACCELERATOR, ""))

    def tell(self, about: Obj, kind: str, reason: str, message: str) -> None:
        """Record an Event, soon."""
        self._events.put_nowait((about, kind, reason, message))

    async def write_events(self) -> None:
        """Send Events until cancelled; nobody waits for them."""
        while True:
            about, kind, reason, message = await self._events.get()
            try:
                await self.store.event(about, kind, reason, message, COMPONENT)
            except Exception:
                log.exception("an Event about %s was lost", about["metadata"]["name"])

    async def write_status(self, pod: Obj, status: Obj) -> Obj:
        """Report a pod's status; KubeError 409 if the pod is another one by now."""
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        return await self.store.patch(pod, body, COMPONENT, "strategic", "status")

    async def delete(self, pod: Obj) -> None:
        """Remove a pod that has ended."""
        await self.store.delete(pod, gracePeriodSeconds=0)

    async def beat(self, node: Obj) -> None:
        """One heartbeat: say Ready where the API says otherwise, and renew the node's lease."""
        if not is_true(node, "Ready"):
            await self._say_ready(node)
        await self._renew_lease(node)

    async def _say_ready(self, node: Obj) -> None:
        before = node.get("status", {})
        conditions = [
            condition("MemoryPressure", False, "KubeletHasSufficientMemory", "enough memory"),
            condition("DiskPressure", False, "KubeletHasNoDiskPressure", "enough disk"),
            condition("PIDPressure", False, "KubeletHasSufficientPID", "enough process ids"),
            condition("Ready", True, "KubeletReady", "kubelet is posting ready status"),
        ]
        name, stamped = node["metadata"]["name"], settle(before.get("conditions"), conditions, now())
        status = {
            "conditions": [{**each, "lastHeartbeatTime": stamp()} for each in stamped],
            "addresses": [
                {"type": "InternalIP", "address": self.host_address},
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {"kubeletVersion": VERSION, "osImage": "inference-rollouts lab"},
        }
        if "allocatable" not in before and "capacity" in before:
            status["allocatable"] = copy.deepcopy(before["capacity"])
        await self.store.patch(node, {"status": status}, COMPONENT, "strategic", "status")
        self.tell(node, "Normal", "NodeReady", f"Node {name} status is now: NodeReady")

    async def _renew_lease(self, node: Obj) -> None:
        name = node["metadata"]["name"]
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        try:
            await self.store.kube.patch(path_of("Lease", LEASES, name), {"spec": spec})
        except KubeError as error:
            if error.status != 404:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
            metadata = {"name": name, "namespace": LEASES, "ownerReferences": [owner]}
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": metadata,
                "spec": spec,
            }
            await self.store.kube.create(path_of("Lease", LEASES), lease)
