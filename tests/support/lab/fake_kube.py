"""An API server in memory, for tests of what works through `lab.kube`: pods, nodes, leases, events."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator
from typing import Any

from lab.kube.client import Event, KubeError
from lab.kube.objects import Obj, path_of, path_of_object


class FakeKube:
    """Objects by path. `outage` makes every call fail as an unreachable server does."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.outage = False
        self._versions = itertools.count(1)
        self._watches: list[tuple[str, asyncio.Queue[Event]]] = []

    def add(self, obj: Obj) -> Obj:
        """Create `obj` with an identity."""
        metadata = obj["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._versions)}")
        path = path_of_object(obj)
        if path in self.objects:
            raise KubeError(409, "AlreadyExists", path)
        return self._put(path, obj, "ADDED")

    def pod(self, name: str) -> Obj | None:
        """The pod of that name, in namespace `default`."""
        return self.objects.get(path_of("Pod", "default", name))

    def of_kind(self, kind: str) -> list[Obj]:
        """All objects of a kind."""
        return [obj for obj in self.objects.values() if obj["kind"] == kind]

    def ask_to_delete(self, name: str, grace: float) -> None:
        """What a DELETE of a bound pod does: the kubelet is to end it."""
        pod = copy.deepcopy(self.objects[path_of("Pod", "default", name)])
        pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
        self._put(path_of_object(pod), pod, "MODIFIED")

    def change(self, obj: Obj) -> None:
        """Replace an object."""
        self._put(path_of_object(obj), obj, "MODIFIED")

    def remove(self, path: str) -> None:
        """The object is gone."""
        self._tell(path, "DELETED", self.objects.pop(path))

    async def get(self, path: str) -> Obj:
        self._fail_in_outage()
        if path not in self.objects:
            raise KubeError(404, "NotFound", path)
        return copy.deepcopy(self.objects[path])

    async def create(self, path: str, obj: Obj, **_: Any) -> Obj:
        self._fail_in_outage()
        return self.add(copy.deepcopy(obj))

    async def patch(self, path: str, body: Obj, kind: str = "merge", field_manager: str | None = None) -> Obj:
        self._fail_in_outage()
        path = path.removesuffix("/status")
        obj = await self.get(path)
        if body.get("metadata", {}).get("uid", obj["metadata"]["uid"]) != obj["metadata"]["uid"]:
            raise KubeError(409, "Conflict", "uid")
        for key in body.keys() - {"metadata"}:
            new = copy.deepcopy(body[key])
            obj[key] = {**obj.get(key, {}), **new} if isinstance(new, dict) else new
        return self._put(path, obj, "MODIFIED")

    async def delete(self, path: str, **options: Any) -> Obj:
        self._fail_in_outage()
        if path not in self.objects:
            raise KubeError(404, "NotFound", path)
        assert options["gracePeriodSeconds"] == 0
        self.remove(path)
        return {}

    async def watch(self, path: str) -> AsyncIterator[Event]:
        for obj in [obj for where, obj in self.objects.items() if _within(where, path)]:
            yield "ADDED", copy.deepcopy(obj)
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._watches.append((path, events))
        yield "SYNCED", {"metadata": {}}
        while True:
            yield await events.get()

    def _put(self, path: str, obj: Obj, kind: str) -> Obj:
        obj["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = obj
        self._tell(path, kind, obj)
        return copy.deepcopy(obj)

    def _tell(self, path: str, kind: str, obj: Obj) -> None:
        for where, events in self._watches:
            if _within(path, where):
                events.put_nowait((kind, copy.deepcopy(obj)))

    def _fail_in_outage(self) -> None:
        if self.outage:
            raise KubeError(0, "Unreachable", "no route to the API server")


def _within(path: str, collection: str) -> bool:
    kind = collection.rpartition("/")[2]
    return path.split("/")[-2] == kind
