"""The objects there are: found, checked, stored, removed."""

from __future__ import annotations

from collections.abc import Callable

from lab.apiserver.changes.ownership import Manager
from lab.apiserver.errors import conflict, invalid, not_found
from lab.apiserver.kinds.conversion import converts, to_served, to_stored
from lab.apiserver.kinds.resources import Catalog, Resource
from lab.apiserver.registry import rules
from lab.apiserver.registry.admission import Call
from lab.apiserver.registry.checks import MODIFIED, custom_errors
from lab.apiserver.registry.metadata import creation_errors, update_errors
from lab.apiserver.storage.history import Entry
from lab.apiserver.storage.store import Store
from lab.apiserver.types.schema import Object


class Objects:
    """What every write and delete shares. `after_write` is told of each: the resource, the object before
    (None if it is new) and after (None if it is gone)."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self.store = store
        self.catalog = catalog
        self.after_write: list[Callable[[Resource, Object | None, Object | None], None]] = []

    def find(self, resource: Resource, namespace: str, name: str) -> Entry:
        """Raises ApiError 404."""
        entry = self.store.get(resource.table, namespace, name)
        if entry is None:
            raise not_found(resource.plural, resource.group, name)
        return entry

    def served(self, resource: Resource, entry: Entry) -> Object:
        return to_served(resource, entry.object())

    def stored(self, table: str) -> list[Object]:
        return [entry.object() for entry in self.store.select(table)]

    def owner(self, resource: Resource, call: Call, subresource: str) -> Manager:
        return Manager(call.manager, "Update", resource.api_version, subresource)

    def check_version(self, resource: Resource, old: Object, new: Object) -> None:
        version = new["metadata"].get("resourceVersion")
        if version not in (None, "", "0", old["metadata"]["resourceVersion"]):
            raise conflict(resource.plural, resource.group, old["metadata"]["name"], MODIFIED)

    def validate(self, resource: Resource, new: Object, old: Object | None) -> None:
        """Raises ApiError 422. The metadata of an update is checked twice, by the registry and by the kind,
        so each of its errors has two causes."""
        metadata = new["metadata"]
        if old is None:
            errors = creation_errors(metadata, resource.name_rule)
        else:
            errors = 2 * update_errors(metadata, old["metadata"])
        if resource.custom:
            errors += custom_errors(resource, new, old)
        else:
            kind = f"{resource.kind}.{resource.group}" if converts(resource) else resource.kind
            errors += rules.object_errors(kind, resource.schema, new, old)
        if errors:
            raise invalid(resource.kind, resource.group, metadata.get("name", ""), errors)

    def settle(self, resource: Resource, old: Object, new: Object) -> Object:
        """Stores an update; what was only held by finalizers and has lost the last of them goes instead."""
        metadata = new["metadata"]
        held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        if resource.table == "namespaces":
            held = held or new["spec"].get("finalizers")
        if metadata.get("deletionTimestamp") and not held:
            self.remove(resource, new)
            return new
        return self.put(resource, new, old)

    def put(self, resource: Resource, new: Object, old: Object | None) -> Object:
        entry = self.store.put(resource.table, to_stored(resource, new))
        new["metadata"]["resourceVersion"] = str(entry.version)
        for listener in self.after_write:
            listener(resource, old, new)
        return new

    def remove(self, resource: Resource, document: Object) -> Object:
        metadata = document["metadata"]
        last = self.store.delete(resource.table, metadata.get("namespace", ""), metadata["name"])
        for listener in self.after_write:
            listener(resource, document, None)
        return self.served(resource, last)
