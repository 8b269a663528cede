"""What goes with what: the objects of a namespace or of a custom kind, when these are deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lab.apiserver.kinds.crds import CLEANUP
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.registry.admission import Call
from lab.apiserver.registry.deletion import Deletion
from lab.apiserver.registry.objects import Objects
from lab.apiserver.types.schema import Object

MANAGER = "namespace-controller"
NAMESPACE_SECONDS = 1.0
"""How long a namespace is left alone after its deletion, as a busy controller would leave it."""


class Janitor:
    """Empties namespaces and kinds that are being deleted, then lets them go."""

    def __init__(self, objects: Objects, deletion: Deletion) -> None:
        self.objects = objects
        self.deletion = deletion

    def sweep(self, now: str) -> None:
        """Takes every deletion as far as it can go at this moment."""
        for resource, document in self._going("", "namespaces", now, NAMESPACE_SECONDS):
            self._empty_namespace(resource, document, now)
        for resource, document in self._going("apiextensions.k8s.io", "customresourcedefinitions", now, 0.0):
            self._empty_kind(resource, document, now)

    def _going(self, group: str, plural: str, now: str, patience: float) -> Iterator[tuple[Resource, Object]]:
        resource = self.objects.catalog.find(group, "v1", plural)
        assert resource is not None
        for entry in tuple(self.objects.store.select(resource.table)):
            if b'"deletionTimestamp"' not in entry.body:
                continue
            document = self.objects.served(resource, entry)
            since = document["metadata"].get("deletionTimestamp")
            if since and _seconds(since, now) >= patience:
                yield resource, document

    def _empty_namespace(self, resource: Resource, document: Object, now: str) -> None:
        name = document["metadata"]["name"]
        left = 0
        for other in self._kinds():
            if other.namespaced:
                left += self._delete_all(other, name, now)
        if not left:
            freed = {**document, "spec": {**document["spec"], "finalizers": []}}
            self.objects.settle(resource, document, freed)

    def _empty_kind(self, resource: Resource, document: Object, now: str) -> None:
        spec = document["spec"]
        table = f"{spec['names']['plural']}.{spec['group']}"
        served = next((other for other in self._kinds() if other.table == table), None)
        if served is not None and self._delete_all(served, "", now):
            return
        kept = [name for name in document["metadata"].get("finalizers") or [] if name != CLEANUP]
        self.objects.settle(
            resource, document, {**document, "metadata": {**document["metadata"], "finalizers": kept}}
        )

    def _delete_all(self, resource: Resource, namespace: str, now: str) -> int:
        """Deletes every object of a kind; returns how many are still there."""
        store = self.objects.store
        for entry in tuple(store.select(resource.table, namespace)):
            if b'"deletionTimestamp"' not in entry.body:
                self.deletion.delete(
                    resource, entry.namespace, entry.name, {}, Call(manager=MANAGER, now=now)
                )
        return sum(1 for _ in store.select(resource.table, namespace))

    def _kinds(self) -> list[Resource]:
        """One resource for each table."""
        by_table = {other.table: other for other in self.objects.catalog if not other.is_review}
        return list(by_table.values())


def _seconds(since: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
