"""Garbage collection by owner references: background, foreground and orphaning deletion."""

from __future__ import annotations

from lab.kube.client import KubeError
from lab.kube.objects import RESOURCES, Obj, key_of, path_of, path_of_object
from lab.reconcile.loop import Loop
from lab.reconcile.store import Store

MANAGER = "kube-controller-manager"
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"

Key = tuple[str, str, str]


class Garbage:
    """Deletes what no living owner holds. Knows the kinds that the store watches."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loop: Loop[Key] = Loop("garbage", self._reconcile)
        for kind in store.kinds():
            store[kind].subscribe(self._changed)

    def _changed(self, before: Obj | None, after: Obj | None) -> None:
        obj = after or before or {}
        metadata = obj["metadata"]
        if after is None:
            for dependent in self._dependents(obj):
                self._add(dependent)
            for reference in metadata.get("ownerReferences") or []:
                self.loop.add((reference["kind"], *self._owner_key(obj, reference)))
        elif _waits_for_us(after) or (before is None and metadata.get("ownerReferences")):
            self._add(after)

    def _add(self, obj: Obj) -> None:
        self.loop.add((obj["kind"], *key_of(obj)))

    def _owner_key(self, obj: Obj, reference: Obj) -> tuple[str, str]:
        resource = RESOURCES.get(reference["kind"])
        namespaced = resource is None or resource.namespaced
        return obj["metadata"].get("namespace", "") if namespaced else "", reference["name"]

    def _dependents(self, owner: Obj) -> list[Obj]:
        uid = owner["metadata"]["uid"]
        return [
            obj
            for kind in self._store.kinds()
            for obj in self._store[kind].items.values()
            if any(each["uid"] == uid for each in obj["metadata"].get("ownerReferences") or [])
        ]

    async def _reconcile(self, key: Key) -> None:
        kind, namespace, name = key
        if kind not in self._store.kinds():
            return
        obj = self._store[kind].get(namespace, name)
        if obj is None:
            return
        finalizers = obj["metadata"].get("finalizers") or []
        if "deletionTimestamp" in obj["metadata"]:
            if ORPHAN in finalizers:
                await self._release(obj)
            elif FOREGROUND in finalizers:
                await self._delete_dependents(obj)
        elif references := obj["metadata"].get("ownerReferences"):
            await self._delete_if_lost(obj, references)

    async def _delete_if_lost(self, obj: Obj, references: list[Obj]) -> None:
        for reference in references:
            if await self._lives(obj, reference):
                return
        await self._store.delete(obj, propagationPolicy="Background")

    async def _lives(self, obj: Obj, reference: Obj) -> bool:
        if reference["kind"] not in RESOURCES:
            return True
        where = self._owner_key(obj, reference)
        if reference["kind"] in self._store.kinds():
            known = self._store[reference["kind"]].get(*where)
            if known and known["metadata"]["uid"] == reference["uid"]:
                return True
        try:
            owner = await self._store.kube.get(path_of(reference["kind"], *where))
        except KubeError as error:
            if error.status == 404:
                return False
            raise
        same: bool = owner["metadata"]["uid"] == reference["uid"]
        return same

    async def _delete_dependents(self, owner: Obj) -> None:
        blocking = False
        for dependent in self._dependents(owner):
            if "deletionTimestamp" not in dependent["metadata"]:
                await self._store.delete(dependent, propagationPolicy="Foreground")
            references = dependent["metadata"]["ownerReferences"]
            blocking |= any(
                each["uid"] == owner["metadata"]["uid"] and each.get("blockOwnerDeletion")
                for each in references
            )
        if not blocking or not self._dependents(owner):
            await self._drop_finalizer(owner, FOREGROUND)

    async def _release(self, owner: Obj) -> None:
        uid = owner["metadata"]["uid"]
        for dependent in self._dependents(owner):
            metadata = dependent["metadata"]
            kept = [each for each in metadata["ownerReferences"] if each["uid"] != uid]
            guard = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
            await self._store.patch(dependent, {"metadata": {**guard, "ownerReferences": kept}}, MANAGER)
        await self._drop_finalizer(owner, ORPHAN)

    async def _drop_finalizer(self, obj: Obj, name: str) -> None:
        metadata = obj["metadata"]
        kept = [each for each in metadata["finalizers"] if each != name]
        guard = {"resourceVersion": metadata["resourceVersion"]}
        body = {"metadata": {**guard, "finalizers": kept}}
        await self._store.kube.patch(path_of_object(obj), body, field_manager=MANAGER)


def _waits_for_us(obj: Obj) -> bool:
    finalizers = obj["metadata"].get("finalizers") or []
    return "deletionTimestamp" in obj["metadata"] and (FOREGROUND in finalizers or ORPHAN in finalizers)
