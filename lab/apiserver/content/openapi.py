"""OpenAPI v3 documents: one a group and version, as kubectl reads them to explain, check and merge."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lab.apiserver.content.discovery import subresources
from lab.apiserver.kinds.builtin import read_kinds, read_types
from lab.apiserver.kinds.resources import Catalog, Resource, builtin_document
from lab.apiserver.types.schema import Object

LOCAL = "x-lab-"
NAMES = "io.k8s."
PARAMETERS = {
    "dryRun": ("string", "All: check the request, write nothing"),
    "fieldManager": ("string", "who owns the fields that this request sets"),
    "fieldValidation": ("string", "what to do about unknown fields: Ignore, Warn or Strict"),
    "force": ("boolean", "take fields from their owners"),
    "labelSelector": ("string", "only objects with such labels"),
    "fieldSelector": ("string", "only objects with such fields"),
    "limit": ("integer", "at most so many objects an answer"),
    "continue": ("string", "go on where the last answer stopped"),
    "watch": ("boolean", "stream what changes"),
    "resourceVersion": ("string", "as of this version, or newer"),
    "timeoutSeconds": ("integer", "stop after so many seconds"),
}
WRITE = ("dryRun", "fieldManager", "fieldValidation")
LIST = ("labelSelector", "fieldSelector", "limit", "continue", "watch", "resourceVersion", "timeoutSeconds")
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)


def index(catalog: Catalog) -> Object:
    """The documents there are, each under an address that changes with its content."""
    paths = {}
    for group, versions in catalog.groups().items():
        for version in versions:
            resources = catalog.of_group(group, version)
            name = resources[0].path.lstrip("/")
            digest = hashlib.sha256(json.dumps(document(resources), sort_keys=True).encode()).hexdigest()
            paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest[:32].upper()}"}
    return {"paths": paths}


def document(resources: list[Resource]) -> Object:
    """The OpenAPI document of the resources of one group and version."""
    schemas: Object = {"io.k8s.ObjectMeta": _published_type("ObjectMeta")}
    paths: Object = {}
    builtin = {
        (kind.get("group", ""), kind["kind"]): kind for kind in read_kinds() if not kind.get("embedded")
    }
    for resource in resources:
        kind = builtin.get((resource.group, resource.kind))
        source = resource.schema.doc if resource.custom or kind is None else builtin_document(kind)
        schemas[component(resource)] = _root(resource, source)
        schemas[f"{component(resource)}List"] = _list(resource)
        paths |= _paths(resource)
    _add_referenced(schemas)
    info = {"title": "Kubernetes", "version": "v1"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def component(resource: Resource) -> str:
    reverse = ".".join(reversed(resource.group.split("."))) if resource.custom else "io.k8s"
    return f"{reverse}.{resource.version}.{resource.kind}"


def _gvk(resource: Resource, kind: str) -> list[Object]:
    return [{"group": resource.group, "version": resource.version, "kind": kind}]


def _root(resource: Resource, source: Any) -> Object:
    out: Object = _published(source)
    out["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        **out.get("properties", {}),
        "metadata": {"$ref": "#/components/schemas/io.k8s.ObjectMeta"},
    }
    out["type"] = "object"
    out["x-kubernetes-group-version-kind"] = _gvk(resource, resource.kind)
    return out


def _list(resource: Resource) -> Object:
    item = {"$ref": f"#/components/schemas/{component(resource)}"}
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "items": {"type": "array", "items": item},
    }
    return {
        "type": "object",
        "properties": properties,
        "x-kubernetes-group-version-kind": _gvk(resource, resource.list_kind),
    }


def _published_type(name: str) -> Object:
    published: Object = _published(read_types()[name])
    return published


def _published(node: Any) -> Any:
    """A document as clients may see it: references in full, our own notes left out."""
    if isinstance(node, list):
        return [_published(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _published(value) for key, value in node.items() if not key.startswith(LOCAL)}
    reference = node.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        out["$ref"] = f"#/components/schemas/{NAMES}{reference}"
        rest = {key: value for key, value in out.items() if key != "$ref"}
        return {"allOf": [{"$ref": out["$ref"]}], **rest} if rest else {"$ref": out["$ref"]}
    return out


def _add_referenced(schemas: Object) -> None:
    """Adds every type that the schemas mention, and those that these mention."""
    types = read_types()
    pending = list(_references(schemas))
    while pending:
        name = pending.pop()
        bare = name.removeprefix(NAMES)
        if name in schemas or bare not in types:
            continue
        schemas[name] = _published(types[bare])
        pending += _references(schemas[name])


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for item in node for name in _references(item)]
    if not isinstance(node, dict):
        return []
    names = [name for value in node.values() for name in _references(value)]
    reference = node.get("$ref")
    return [*names, reference.rpartition("/")[2]] if isinstance(reference, str) else names


def _paths(resource: Resource) -> Object:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{resource.path}{scope}/{resource.plural}"
    create = _operation(resource, "post", WRITE)
    if resource.is_review:
        return {collection: {"post": create}}
    paths: Object = {
        collection: {"get": _operation(resource, "list", LIST), "post": create},
        f"{collection}/{{name}}": _item(resource),
    }
    for name in subresources(resource):
        if name in ("status", "scale"):
            paths[f"{collection}/{{name}}/{name}"] = _item(resource)
    return paths


def _item(resource: Resource) -> Object:
    return {
        "get": _operation(resource, "get", ()),
        "put": _operation(resource, "put", WRITE),
        "patch": _operation(resource, "patch", (*WRITE, "force")),
        "delete": _operation(resource, "delete", ("dryRun",)),
    }


def _operation(resource: Resource, action: str, parameters: tuple[str, ...]) -> Object:
    reference = {"$ref": f"#/components/schemas/{component(resource)}"}
    out: Object = {
        "parameters": [_parameter(name) for name in parameters],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(resource, resource.kind)[0],
    }
    if action in ("post", "put"):
        out["requestBody"] = {"content": {"application/json": {"schema": reference}}}
    if action == "patch":
        offered = [media for media in PATCHES if not (resource.custom and "strategic" in media)]
        out["requestBody"] = {"content": {media: {"schema": {"type": "object"}} for media in offered}}
    return out


def _parameter(name: str) -> Object:
    kind, text = PARAMETERS[name]
    return {
        "name": name,
        "in": "query",
        "description": text,
        "schema": {"type": kind, "uniqueItems": True},
    }
