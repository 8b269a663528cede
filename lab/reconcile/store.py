"""What controllers share: one client, one copy of each collection, Events, writes that are seen at once."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from lab.kube.client import Kube, KubeError
from lab.kube.clock import stamp
from lab.kube.informer import Informer
from lab.kube.objects import Obj, path_of, path_of_object
from lab.scope import LAB

log = logging.getLogger(__name__)


class Store:
    """The cluster as the controllers see it. Index with a kind to get its Informer.

    With `namespace` it sees, and writes Events in, no other. With `lab` it sees only the nodes that carry
    this value of the label LAB, and its Events carry it too.
    """

    def __init__(
        self, kube: Kube, kinds: Iterable[str], namespace: str | None = None, lab: str | None = None
    ) -> None:
        self.kube = kube
        self._namespace = namespace
        self._labels = {LAB: lab} if lab else {}
        nodes = {"labelSelector": f"{LAB}={lab}"} if lab else {}
        self._informers = {
            kind: Informer(kube, path_of(kind, namespace), **(nodes if kind == "Node" else {}))
            for kind in kinds
        }
        self._events: dict[str, int] = {}

    def __getitem__(self, kind: str) -> Informer:
        return self._informers[kind]

    def kinds(self) -> Iterable[str]:
        """The kinds that are watched."""
        return self._informers

    def on_change(self, kind: str, listener: Callable[[Obj], None]) -> None:
        """Call `listener` with the newest state of every object of `kind` that changes or goes."""
        self[kind].subscribe(lambda before, after: listener(after or before or {}))

    def watch_all(self, group: asyncio.TaskGroup) -> None:
        """Start to keep every collection up to date."""
        for informer in self._informers.values():
            group.create_task(informer.run())

    async def synced(self, kinds: Iterable[str] | None = None) -> None:
        """Return when the collections of `kinds` (None: all) have been listed once."""
        for kind in self._informers if kinds is None else kinds:
            await self[kind].synced.wait()

    async def create(self, obj: Obj, manager: str) -> Obj:
        """Create `obj`, whose name may be left to `generateName`."""
        path = path_of(obj["kind"], obj["metadata"].get("namespace"))
        return self._saw(await self.kube.create(path, obj, fieldManager=manager))

    async def replace(self, obj: Obj, manager: str) -> Obj:
        """PUT `obj`; 409 if it has changed since it was read."""
        return self._saw(await self.kube.replace(path_of_object(obj), obj, fieldManager=manager))

    async def write_status(self, obj: Obj, status: Obj, manager: str) -> Obj:
        """PUT the status subresource, if it differs from what `obj` has; 409 if `obj` is stale."""
        if obj.get("status", {}) == status:
            return obj
        path = path_of_object(obj, "status")
        return self._saw(await self.kube.replace(path, {**obj, "status": status}, fieldManager=manager))

    async def patch(
        self, obj: Obj, body: Any, manager: str, kind: str = "merge", sub: str | None = None
    ) -> Obj:
        """PATCH `obj` or its subresource."""
        return self._saw(await self.kube.patch(path_of_object(obj, sub), body, kind, field_manager=manager))

    async def delete(self, obj: Obj, **options: Any) -> None:
        """Delete exactly this object (its uid); it is no error if it has gone already."""
        preconditions = {"uid": obj["metadata"]["uid"]}
        try:
            answer = await self.kube.delete(path_of_object(obj), preconditions=preconditions, **options)
        except KubeError as error:
            if error.status not in (404, 409):
                raise
            answer = {}
        if answer.get("metadata", {}).get("deletionTimestamp"):
            self._saw({**answer, "kind": obj["kind"]})
        else:
            self[obj["kind"]].forget(obj)

    async def event(self, about: Obj, kind: str, reason: str, message: str, component: str) -> None:
        """Record a core/v1 Event (`Normal` or `Warning`); repetitions raise its count."""
        metadata = about["metadata"]
        text = "\n".join([metadata["uid"], kind, reason, message, component])
        name = f"{metadata['name']}.{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        namespace = metadata.get("namespace", "default")
        if self._namespace not in (None, namespace):
            return
        count = self._events[name] = self._events.get(name, 0) + 1
        try:
            if count > 1:
                again = {"count": count, "lastTimestamp": stamp()}
                await self.kube.patch(path_of("Event", namespace, name), again)
            else:
                event = _event(about, namespace, name, kind, reason, message, component)
                event["metadata"]["labels"] = self._labels
                await self.kube.create(path_of("Event", namespace), event, fieldManager=component)
        except KubeError as error:
            if error.status != 409:
                self._events.pop(name, None)
                log.warning("event %s: %s", reason, error)

    def _saw(self, obj: Obj) -> Obj:
        if obj.get("kind") in self._informers:
            self[obj["kind"]].observe(obj)
        return obj


def _event(
    about: Obj, namespace: str, name: str, kind: str, reason: str, message: str, component: str
) -> Obj:
    metadata = about["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace", ""),
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": stamp(),
        "lastTimestamp": stamp(),
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
    }
