"""Creating, changing and deleting objects, as the REST endpoints of a Kubernetes server do."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lab.apiserver.changes import last_applied, ownership
from lab.apiserver.changes.ownership import Application, Manager, Managers
from lab.apiserver.errors import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_value,
    not_found,
)
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.registry import strategy
from lab.apiserver.registry.admission import Call, parse, read
from lab.apiserver.registry.checks import (
    check_kind,
    check_name,
    check_namespace,
    check_patched,
    unfit_patch,
)
from lab.apiserver.registry.metadata import generated_name
from lab.apiserver.registry.objects import Objects
from lab.apiserver.types.decode import DecodeError
from lab.apiserver.types.schema import Object

UNVERSIONED = "must be specified for an update"


class Operations:
    """Creating and changing objects. `objects` is where they are checked and kept."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def create(self, resource: Resource, namespace: str, document: Object, call: Call) -> Object:
        check_kind(resource, document)
        new = read(resource, document, call)
        metadata = new["metadata"]
        check_namespace(resource, metadata, namespace)
        self.check_namespace_open(resource, namespace)
        if metadata.get("resourceVersion") not in (None, "", "0"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = generated_name(metadata["generateName"])
        self._begin(resource, namespace, metadata, call)
        managers = Managers.read([])
        if metadata.get("managedFields") not in (None, [{}]):
            managers = ownership.of_object(None, new, "")
        metadata["managedFields"] = ownership.after_update(
            resource.schema,
            strategy.empty(resource),
            new,
            managers,
            self.objects.owner(resource, call, ""),
            strategy.ignored_fields(resource, ""),
            call.now,
        )
        return self.insert(resource, new, call)

    def _begin(self, resource: Resource, namespace: str, metadata: Object, call: Call) -> None:
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"):
            metadata.pop(name, None)
        if resource.namespaced:
            metadata["namespace"] = namespace
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = call.now

    def insert(self, resource: Resource, new: Object, call: Call) -> Object:
        """Stores a new object whose owners are settled."""
        _drop_empty_owners(new)
        strategy.prepare_create(resource, new, self.objects.stored)
        self.objects.validate(resource, new, None)
        metadata = new["metadata"]
        if self.objects.store.get(resource.table, metadata.get("namespace", ""), metadata["name"]):
            raise already_exists(resource.plural, resource.group, metadata["name"])
        if not call.dry_run:
            new = self.objects.put(resource, new, None)
        return new

    def check_namespace_open(self, resource: Resource, namespace: str) -> None:
        """Raises ApiError where nothing can be created: 404 no such namespace, 403 it is going."""
        if not resource.namespaced or resource.is_review:
            return
        entry = self.objects.store.get("namespaces", "", namespace)
        if entry is None:
            raise not_found("namespaces", "", namespace)
        if entry.object()["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            error = forbidden(resource.plural, resource.group, "", why)
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            error.details = {**(error.details or {}), "causes": [cause]}
            raise error

    def replace(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        document: Object,
        call: Call,
        subresource: str = "",
    ) -> tuple[Object, bool]:
        """PUT. Returns the object and whether it was created."""
        check_kind(resource, document)
        new = read(resource, document, call)
        metadata = new["metadata"]
        check_name(metadata.get("name", ""), name)
        check_namespace(resource, metadata, namespace)
        entry = self.objects.store.get(resource.table, namespace, name)
        if entry is None:
            if not resource.upsert or subresource:
                raise not_found(resource.plural, resource.group, name)
            call.may_create()
            return self.create(resource, namespace, document, call), True
        if (resource.custom or resource.conditional) and metadata.get("resourceVersion") in (None, "", "0"):
            error = invalid_value("metadata.resourceVersion", 0, UNVERSIONED)
            raise invalid(resource.plural, resource.group, name, [error])
        old = self.objects.served(resource, entry)
        uid = metadata.get("uid")
        if uid and uid != old["metadata"]["uid"]:
            known = old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {known}"
            raise conflict(resource.plural, resource.group, name, why)
        return self.update(resource, old, new, call, subresource), False

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        change: Callable[[Object], Any],
        call: Call,
        subresource: str = "",
    ) -> Object:
        """PATCH with anything but an apply: `change` makes the new object out of the current one."""
        old = self.objects.served(resource, self.objects.find(resource, namespace, name))
        patched = change(old)
        check_patched(resource, patched)
        check_name(patched["metadata"].get("name", ""), name)
        check_namespace(resource, patched["metadata"], namespace)
        try:
            new, unknown = parse(resource, patched)
        except DecodeError as error:
            raise unfit_patch(patched, str(error)) from error
        if unknown and call.validation == "Strict":
            texts = ", ".join(f'unknown field "{name}"' for name in unknown)
            raise unfit_patch(patched, f"strict decoding error: {texts}")
        if call.validation == "Warn":
            call.warnings += [f'unknown field "{name}"' for name in unknown]
        return self.update(resource, old, new, call, subresource)

    def update(
        self,
        resource: Resource,
        old: Object,
        new: Object,
        call: Call,
        subresource: str = "",
        seen: Callable[[Object], Object] = lambda document: document,
    ) -> Object:
        """Makes `new` of `old`, both in served form, if the rules allow it. `seen` gives what the endpoint
        shows of either, by which fields change their owner."""
        self.objects.check_version(resource, old, new)
        _keep(new["metadata"], old["metadata"])
        managers = ownership.of_object(old, new, subresource)
        new["metadata"]["managedFields"] = ownership.after_update(
            resource.schema,
            seen(old),
            seen(new),
            managers,
            self.objects.owner(resource, call, subresource),
            strategy.ignored_fields(resource, subresource),
            call.now,
        )
        return self.finish(resource, old, new, call, subresource)

    def finish(self, resource: Resource, old: Object, new: Object, call: Call, subresource: str) -> Object:
        """Checks and stores an update whose owners are settled; one that changes nothing is not stored."""
        _drop_empty_owners(new)
        new = strategy.prepare_update(resource, new, old, subresource)
        self.objects.validate(resource, new, old)
        if _same_but_times(old, new):
            return old
        if call.dry_run:
            return new
        return self.objects.settle(resource, old, new)

    def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        config: Object,
        call: Call,
        subresource: str = "",
    ) -> tuple[Object, bool]:
        """Server-side apply. Returns the object and whether it was created."""
        check_kind(resource, config)
        metadata = {"name": name, **(config.get("metadata") or {})}
        check_name(metadata["name"], name)
        check_namespace(resource, metadata, namespace)
        application = Application(
            owner=Manager(call.manager, "Apply", resource.api_version, subresource),
            config={**config, "metadata": metadata},
            empty=strategy.empty(resource),
            now=call.now,
            ignored=strategy.ignored_fields(resource, subresource),
            force=call.force,
            described=f"{namespace}/{name}; {resource.api_version}, Kind={resource.kind}",
        )
        entry = self.objects.store.get(resource.table, namespace, name)
        if entry is None:
            if subresource:
                raise not_found(resource.plural, resource.group, name)
            return self._apply_new(resource, namespace, application, call), True
        old = self.objects.served(resource, entry)
        if call.manager == last_applied.MANAGER and not subresource:
            application = replace(application, yielded=last_applied.own_fields(resource.schema, old))
            return self._apply_to(resource, old, application, call, subresource, config), False
        return self._apply_to(resource, old, application, call, subresource, None), False

    def _apply_to(
        self,
        resource: Resource,
        old: Object,
        application: Application,
        call: Call,
        subresource: str,
        noted: Object | None,
    ) -> Object:
        """`noted` is what kubectl's annotation is to say was applied last, if the annotation is to follow."""
        applied = ownership.apply(resource.schema, old, application)
        if not applied.changed:
            return old
        new = self._parse_applied(resource, applied.object)
        if noted is not None:
            last_applied.renew(noted, new)
        applied.managers.times[application.owner] = call.now
        self.objects.check_version(resource, old, new)
        _keep(new["metadata"], old["metadata"])
        new["metadata"]["managedFields"] = applied.managers.write()
        return self.finish(resource, old, new, call, subresource)

    def _apply_new(self, resource: Resource, namespace: str, application: Application, call: Call) -> Object:
        metadata = application.config["metadata"]
        if metadata.get("uid"):
            why = (
                f"uid mismatch: the provided object specified uid {metadata['uid']}, "
                "and no existing object was found"
            )
            raise conflict(resource.plural, resource.group, metadata["name"], why)
        call.may_create()
        self.check_namespace_open(resource, namespace)
        applied = ownership.apply(resource.schema, application.empty, application)
        new = self._parse_applied(resource, applied.object)
        self._begin(resource, namespace, new["metadata"], call)
        applied.managers.times[application.owner] = call.now
        new["metadata"]["managedFields"] = applied.managers.write()
        return self.insert(resource, new, call)

    def _parse_applied(self, resource: Resource, document: Object) -> Object:
        try:
            return parse(resource, document)[0]
        except DecodeError as error:
            raise bad_request(f"failed to convert new object: {error}") from error


def _keep(new: Object, old: Object) -> None:
    """What of the metadata no update changes."""
    for name in (
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ):
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)
    if not new.get("uid"):
        new["uid"] = old["uid"]
    new.pop("selfLink", None)


def _drop_empty_owners(document: Object) -> None:
    if not document["metadata"].get("managedFields"):
        document["metadata"].pop("managedFields", None)


def _same_but_times(old: Object, new: Object) -> bool:
    def timeless(document: Object) -> Object:
        metadata = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
        entries = [
            {key: value for key, value in entry.items() if key != "time"}
            for entry in document["metadata"].get("managedFields") or []
        ]
        return {**document, "metadata": {**metadata, "managedFields": entries}}

    return timeless(old) == timeless(new)
