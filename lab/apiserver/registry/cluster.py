"""The cluster behind the server: its objects, its kinds, its users, and what it begins with."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

import yaml

from lab.apiserver.access import rbac
from lab.apiserver.access.auth import Authenticator
from lab.apiserver.errors import ApiError
from lab.apiserver.kinds import crds
from lab.apiserver.kinds.resources import Resource, builtin_catalog
from lab.apiserver.registry.admission import Call
from lab.apiserver.registry.deletion import Deletion
from lab.apiserver.registry.janitor import Janitor
from lab.apiserver.registry.objects import Objects
from lab.apiserver.registry.operations import Operations
from lab.apiserver.storage.store import Store
from lab.apiserver.types.schema import Object

log = logging.getLogger(__name__)
FIRST_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
MANAGER = "lab"


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Cluster:
    """One state directory, opened. `definitions` is a folder of custom kinds to install where absent."""

    def __init__(self, directory: Path, definitions: Path | None) -> None:
        self.store = Store(directory)
        self.catalog = builtin_catalog()
        self.objects = Objects(self.store, self.catalog)
        self.operations = Operations(self.objects)
        self.deletion = Deletion(self.objects)
        self.janitor = Janitor(self.objects, self.deletion)
        self.authenticator = Authenticator(directory, self.store)
        self.authorizer = rbac.Authorizer(self.store)
        self.objects.after_write += [self._follow_definitions, self._follow_roles]
        for resource in self.catalog:
            if resource.group != "events.k8s.io":
                self.store.index(resource.table, resource.selectable)
        self._restore_kinds()
        self._create_first_objects()
        for document in read_documents(definitions) if definitions else []:
            self._install(document)
        self.store.forget_changes()

    def resource(self, group: str, plural: str) -> Resource:
        """A built-in resource."""
        resource = self.catalog.find(group, "v1", plural)
        assert resource is not None
        return resource

    def sweep(self) -> None:
        """Takes deletions of namespaces and kinds a step further."""
        try:
            self.janitor.sweep(now_text())
        except ApiError as error:
            log.warning("a deletion could not go on: %s", error)

    def _restore_kinds(self) -> None:
        for entry in self.store.select(self._definitions.table):
            self._serve(entry.object())

    @property
    def _definitions(self) -> Resource:
        return self.resource("apiextensions.k8s.io", "customresourcedefinitions")

    def _create_first_objects(self) -> None:
        call = Call(manager=MANAGER, now=now_text())
        first = [(self.resource("", "namespaces"), {"metadata": {"name": name}}) for name in FIRST_NAMESPACES]
        first += [(self.resource(rbac.GROUP, plural), role) for plural, role in rbac.first_roles()]
        for resource, document in first:
            if not self.store.get(resource.table, "", document["metadata"]["name"]):
                self.operations.create(resource, "", document, call)

    def _install(self, definition: Object) -> None:
        """Applies a definition; one that somebody else has changed stays as it is."""
        name = definition["metadata"]["name"]
        try:
            call = Call(manager=MANAGER, now=now_text())
            self.operations.apply(self._definitions, "", name, definition, call)
        except ApiError as error:
            if error.code != 409:
                raise
            log.warning("%s was changed by others and is kept: %s", name, error.message)

    def _follow_definitions(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        """Serves kinds as soon as their definition is stored, until it is gone."""
        if resource.custom or resource.kind != "CustomResourceDefinition":
            return
        if new is not None:
            self._serve(new)
        elif old is not None:
            spec = old["spec"]
            self.catalog.remove(spec["group"], spec["names"]["plural"])
            self.store.drop_table(f"{spec['names']['plural']}.{spec['group']}")

    def _serve(self, definition: Object) -> None:
        crds.install(self.catalog, definition)
        for resource in crds.resources_of(definition):
            self.store.index(resource.table, resource.selectable)

    def _follow_roles(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        if resource.kind in rbac.KINDS:
            self.authorizer.forget()


def read_documents(folder: Path) -> list[Object]:
    """Every document of the YAML files of a folder, in the order of their names."""
    documents = []
    for path in sorted(folder.glob("*.yaml")):
        documents += [item for item in yaml.load_all(path.read_text(), yaml.CSafeLoader) if item]
    return documents
