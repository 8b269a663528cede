"""One pod from its binding to a node until it is removed from the API."""

from __future__ import annotations

import asyncio
import logging

from lab.kube.client import KubeError
from lab.kube.clock import now, stamp
from lab.kube.objects import Obj
from lab.kubelet.container import Container, Surroundings
from lab.kubelet.node import Machine
from lab.kubelet.status import pod_status

log = logging.getLogger(__name__)

RETRY = 0.5
ENDED = ("Succeeded", "Failed")


class PodWorker:
    """Runs a pod's containers, reports its status, ends it when the API says so."""

    def __init__(self, pod: Obj, machine: Machine) -> None:
        self.pod = pod
        self.finished = False
        self._machine = machine
        self._changed = asyncio.Event()
        self._deleted = asyncio.Event()
        self._containers: list[Container] = []
        before = pod.get("status", {})
        self._start = before.get("startTime") or stamp()
        self._address = machine.addresses.take(before.get("podIP"))
        self._task = asyncio.create_task(self._run())
        self.update(pod)

    def update(self, pod: Obj) -> None:
        """The pod as the API has it now."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._deleted.set()
        if pod["spec"].get("readinessGates"):
            self._changed.set()

    async def abandon(self) -> None:
        """Kill the containers and report nothing more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        writer = asyncio.create_task(self._report())
        try:
            if self.pod.get("status", {}).get("phase") not in ENDED:
                self._start_containers()
            self._changed.set()
            await self._deleted.wait()
            await self._terminate()
            writer.cancel()
            await self._remove()
        finally:
            writer.cancel()
            await asyncio.gather(*(container.stop(0) for container in self._containers))
            self._machine.addresses.release(self._address)

    def _start_containers(self) -> None:
        around = Surroundings(
            pod=self.pod,
            address=self._address,
            catalogue=self._machine.catalogue,
            pulled=self._machine.pulled(self.pod["spec"]["nodeName"]),
            session=self._machine.session,
            scale=self._machine.scale,
            accelerator=self._machine.accelerator(self.pod["spec"]["nodeName"]),
            tell=lambda kind, reason, message: self._machine.tell(self.pod, kind, reason, message),
            changed=self._changed.set,
        )
        before = {item["name"]: item for item in self.pod.get("status", {}).get("containerStatuses") or []}
        for spec in self.pod["spec"]["containers"]:
            self._containers.append(Container(spec, around, before.get(spec["name"])))

    async def _terminate(self) -> None:
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds") or 0
        for container in self._containers:
            name = container.state.name
            self._machine.tell(self.pod, "Normal", "Killing", f"Stopping container {name}")
        await asyncio.gather(*(container.stop(grace) for container in self._containers))

    async def _report(self) -> None:
        written: Obj | None = None
        while True:
            await self._changed.wait()
            self._changed.clear()
            states = [container.state for container in self._containers]
            host = self._machine.host_address
            status = pod_status(self.pod, states, self._address, host, self._start, now())
            if not states or status == written:
                continue
            try:
                self.pod = await self._machine.write_status(self.pod, status)
                written = status
            except KubeError as error:
                if error.status == 404:
                    return
                log.warning("status of pod %s: %s", self.pod["metadata"]["name"], error)
                self._changed.set()
                await asyncio.sleep(RETRY)

    async def _remove(self) -> None:
        self.finished = True
        while True:
            try:
                return await self._machine.delete(self.pod)
            except KubeError as error:
                log.warning("removing pod %s: %s", self.pod["metadata"]["name"], error)
                await asyncio.sleep(RETRY)
