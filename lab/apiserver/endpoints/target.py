"""What a URL path addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from lab.apiserver.access.rbac import Action
from lab.apiserver.errors import page_not_found
from lab.apiserver.kinds.resources import Catalog, Resource
from lab.apiserver.types.schema import ANY

COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
OBJECT_VERBS = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Target:
    """A collection, an object, or a subresource of an object. `rest` is what follows a proxy's name."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""

    @property
    def everywhere(self) -> bool:
        """A collection over all namespaces."""
        return self.resource.namespaced and not self.namespace and not self.resource.is_review

    def verb(self, method: str, watch: bool) -> str:
        """The request's verb as access rules name it; empty where the method is not allowed."""
        if method == "HEAD" and (self.resource.custom or self.subresource == "proxy"):
            method = "GET"
        if self.subresource:
            return "create" if method == "POST" else OBJECT_VERBS.get(method, "")
        if self.name:
            return "watch" if watch and method == "GET" else OBJECT_VERBS.get(method, "")
        return "watch" if watch and method == "GET" else COLLECTION_VERBS.get(method, "")

    def action(self, verb: str, field_selector: str = "") -> Action:
        """The request as access rules see it: to select one object by name is to name it."""
        resource = self.resource
        namespace = self.name if resource.table == "namespaces" else self.namespace
        selected = re.fullmatch(r"metadata\.name==?([^,=]+)", field_selector)
        name = self.name or (selected[1] if selected else "")
        return Action(verb, resource.group, resource.plural, self.subresource, name, namespace)


def of_old_watch(path: str) -> str:
    """The path of a watch in its old form, less the `watch` that followed the version; others: empty."""
    found = re.fullmatch(r"(/api/[^/]+|/apis/[^/]+/[^/]+)/watch(/.+)", path)
    return found[1] + found[2] if found else ""


def find(catalog: Catalog, path: str) -> Target:
    """Raises ApiError 404 where nothing is served."""
    group, version, namespace, rest = _parsed(path)
    resource = catalog.find(group, version, rest[0])
    if resource is None or (namespace and not resource.namespaced):
        raise page_not_found()
    name = rest[1] if len(rest) > 1 else ""
    if name and resource.namespaced and not namespace:
        raise page_not_found()
    subresource = rest[2] if len(rest) > 2 else ""
    tail = "/".join(path.strip("/").split("/")[-len(rest) + 3 :]) if len(rest) > 3 else ""
    return Target(resource, namespace, name, subresource, tail)


def unserved(path: str) -> Target:
    """What a path would address if the server knew its kind: access rules speak of these, too."""
    group, version, namespace, rest = _parsed(path)
    resource = Resource(group, version, rest[0], rest[0], ANY, custom=True)
    return Target(resource, namespace, *rest[1:3])


def _parsed(path: str) -> tuple[str, str, str, list[str]]:
    """Group, version, namespace, and what follows these."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    if rest[0] == "namespaces" and len(rest) >= 3 and not _is_sub(rest):
        return group, version, rest[1], rest[2:]
    return group, version, "", rest


def _is_sub(rest: list[str]) -> bool:
    """Whether /namespaces/NAME/X is a subresource of the namespace itself."""
    return len(rest) == 3 and rest[2] in ("status", "finalize")
