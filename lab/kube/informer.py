"""A local copy of a collection, kept by a watch, that tells who listens what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from lab.kube.client import Kube
from lab.kube.objects import Obj, key_of

REMEMBERED = 4096  # uids of deleted objects, against news that arrives late

Listener = Callable[[Obj | None, Obj | None], None]


class Informer:
    """The objects at `path`, by `(namespace, name)`.

    `run` must run as a task; `synced` is set once the first listing is in. Listeners are called with
    the object before and after each change (None: did not exist). `observe` and `forget` bring in the
    answer to one's own write at once, so that nobody decides on a copy that lacks it.
    """

    def __init__(self, kube: Kube, path: str, **params: str) -> None:
        self.path = path
        self.items: dict[tuple[str, str], Obj] = {}
        self.synced = asyncio.Event()
        self._kube = kube
        self._params = params
        self._listeners: list[Listener] = []
        self._gone: dict[str, None] = {}

    def subscribe(self, listener: Listener) -> None:
        """Call `listener(before, after)` on every change from now on."""
        self._listeners.append(listener)

    def get(self, namespace: str, name: str) -> Obj | None:
        """The object, or None."""
        return self.items.get((namespace, name))

    def list(self, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> list[Obj]:
        """The objects of a namespace (None: of all) that carry all of `labels`."""
        wanted = (labels or {}).items()
        return [
            obj
            for (where, _), obj in self.items.items()
            if namespace in (None, where) and wanted <= (obj["metadata"].get("labels") or {}).items()
        ]

    async def run(self) -> None:
        """Keep the copy up to date, until cancelled."""
        async for kind, obj in self._kube.watch(self.path, **self._params):
            if kind == "SYNCED":
                self.synced.set()
            elif kind == "DELETED":
                self.forget(obj)
            else:
                self.observe(obj)

    def observe(self, obj: Obj) -> None:
        """Take in `obj` unless the copy already has a newer one, or knows that it has gone."""
        if obj["metadata"]["uid"] in self._gone:
            return
        before = self.items.get(key_of(obj))
        if before is None or _version(before) < _version(obj):
            self.items[key_of(obj)] = obj
            self._tell(before, obj)

    def forget(self, obj: Obj) -> None:
        """`obj` has been deleted for good, whatever older news still says."""
        uid = obj["metadata"]["uid"]
        self._gone[uid] = None
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        before = self.items.get(key_of(obj))
        if before and before["metadata"]["uid"] == uid:
            del self.items[key_of(obj)]
            self._tell(before, None)

    def _tell(self, before: Obj | None, after: Obj | None) -> None:
        for listener in self._listeners:
            listener(before, after)


def _version(obj: Obj) -> int:
    return int(obj["metadata"]["resourceVersion"])
