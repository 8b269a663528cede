"""Custom kinds: a CustomResourceDefinition becomes the resources that it defines."""

from __future__ import annotations

from typing import Any

from lab.apiserver.errors import FieldError, invalid_value, required
from lab.apiserver.kinds.builtin import types_parser
from lab.apiserver.kinds.cel import CelError, compiled
from lab.apiserver.kinds.resources import Catalog, Resource
from lab.apiserver.types.schema import Object, Parser, Schema

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def resources_of(definition: Object) -> list[Resource]:
    """The resources that a definition serves."""
    spec = definition["spec"]
    return [_resource(spec, version) for version in spec["versions"] if version.get("served")]


def _resource(spec: Object, version: Object) -> Resource:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    document = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    columns = version.get("additionalPrinterColumns") or [AGE]
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        schema=root_schema(document),
        singular=names.get("singular") or names["kind"].lower(),
        list_kind=names.get("listKind") or f"{names['kind']}List",
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        custom=True,
        has_status="status" in subresources,
        scale=subresources.get("scale"),
        counts_generations=True,
        conditional=True,
        selectable=tuple(item["jsonPath"].lstrip(".") for item in version.get("selectableFields") or ()),
        columns=tuple(columns),
        table=f"{names['plural']}.{spec['group']}",
        warning=_warning(spec, version) if version.get("deprecated") else "",
    )


def root_schema(document: Object) -> Schema:
    """A version's schema; what every object has (apiVersion, kind, metadata) is the same for all."""
    schema = Parser().parse(document)
    schema.properties = {
        **schema.properties,
        "apiVersion": Schema({"type": "string"}, type="string"),
        "kind": Schema({"type": "string"}, type="string"),
        "metadata": types_parser().ref("ObjectMeta"),
    }
    schema.type = "object"
    return schema


def _warning(spec: Object, version: Object) -> str:
    default = f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
    return version.get("deprecationWarning") or default


def established(definition: Object, now: str) -> Object:
    """The status of a definition that is served; what it said before of times and versions stays."""
    names = definition["spec"]["names"]
    known = definition.get("status") or {}
    stored = list(known.get("storedVersions") or [])
    for version in definition["spec"]["versions"]:
        if version.get("storage") and version["name"] not in stored:
            stored.append(version["name"])
    conditions = known.get("conditions") or [
        {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    return {"conditions": conditions, "acceptedNames": dict(names), "storedVersions": stored}


def definition_errors(definition: Object) -> list[FieldError]:
    """What is wrong with a definition."""
    spec = definition["spec"]
    names, group = spec.get("names") or {}, spec.get("group", "")
    errors: list[FieldError] = []
    expected = f"{names.get('plural')}.{group}"
    if definition["metadata"].get("name") != expected:
        text = 'must be spec.names.plural+"."+spec.group'
        errors.append(invalid_value("metadata.name", definition["metadata"].get("name"), text))
    versions = spec.get("versions") or []
    if versions and sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        errors.append(invalid_value("spec.versions", versions, text))
    for i, version in enumerate(versions):
        path = f"spec.versions[{i}].schema"
        document = (version.get("schema") or {}).get("openAPIV3Schema")
        if document is None:
            errors.append(required(f"{path}.openAPIV3Schema", "schemas are required"))
        else:
            errors += _schema_errors(document, f"{path}.openAPIV3Schema", root=True)
    return errors


def _schema_errors(document: Any, path: str, root: bool = False) -> list[FieldError]:
    errors: list[FieldError] = []
    typed = document.get("type") or document.get("x-kubernetes-int-or-string")
    if not typed and not document.get("x-kubernetes-preserve-unknown-fields"):
        errors.append(required(f"{path}.type", "must not be empty for specified object fields"))
    if root and document.get("type") not in (None, "object"):
        errors.append(invalid_value(f"{path}.type", document["type"], "must be object at the root"))
    for i, rule in enumerate(document.get("x-kubernetes-validations") or []):
        try:
            compiled(rule.get("rule", ""))
        except CelError as error:
            place = f"{path}.x-kubernetes-validations[{i}].rule"
            errors.append(invalid_value(place, rule.get("rule"), f"compilation failed: {error}"))
    for name, child in (document.get("properties") or {}).items():
        errors += _schema_errors(child, f"{path}.properties[{name}]")
    if isinstance(document.get("items"), dict):
        errors += _schema_errors(document["items"], f"{path}.items")
    if isinstance(document.get("additionalProperties"), dict):
        errors += _schema_errors(document["additionalProperties"], f"{path}.additionalProperties")
    return errors


def install(catalog: Catalog, definition: Object) -> None:
    """Serves what a definition defines, in place of what was served of it before."""
    spec = definition["spec"]
    catalog.remove(spec["group"], spec["names"]["plural"])
    for resource in resources_of(definition):
        catalog.add(resource)
