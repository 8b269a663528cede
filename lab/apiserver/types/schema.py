"""OpenAPI schemas, parsed once into the form that every request walks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

UNSET: Final = object()
LIMITS = (
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)
JSON = Any
Object = dict[str, Any]


@dataclass(slots=True, eq=False)
class Schema:
    """One node of a schema. `doc` is its OpenAPI text, the rest is that text made quick to use."""

    doc: Mapping[str, Any]
    type: str = ""
    format: str = ""
    properties: dict[str, Schema] = field(default_factory=dict)
    additional: Schema | None = None
    items: Schema | None = None
    required: tuple[str, ...] = ()
    default: Any = UNSET
    nullable: bool = False
    preserve: bool = False
    embedded: bool = False
    int_or_string: bool = False
    list_type: str = "atomic"
    list_keys: tuple[str, ...] = ()
    atomic: bool = False
    merge_key: str | None = None
    patch_strategies: frozenset[str] = frozenset()
    zero: Any = UNSET
    omit_zero: bool = False
    limits: dict[str, Any] = field(default_factory=dict)
    rules: list[Mapping[str, Any]] = field(default_factory=list)
    all_of: list[Schema] = field(default_factory=list)
    any_of: list[Schema] = field(default_factory=list)
    one_of: list[Schema] = field(default_factory=list)
    negated: Schema | None = None
    has_rules: bool = False
    has_defaults: bool = False

    def child(self, key: str) -> Schema | None:
        """The schema of what stands under a key of an object, if it says anything of it."""
        return self.properties.get(key, self.additional)

    @property
    def is_map(self) -> bool:
        """Its keys are data, not field names."""
        return self.additional is not None and not self.properties


ANY = Schema({}, preserve=True)


class Parser:
    """Parses OpenAPI documents; every `$ref` names a type of `types` and is parsed once."""

    def __init__(self, types: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.types = types or {}
        self.named: dict[str, Schema] = {}

    def ref(self, name: str) -> Schema:
        if name not in self.named:
            self.named[name] = self.parse(self.types[name])
        return self.named[name]

    def parse(self, doc: Mapping[str, Any]) -> Schema:
        node = Schema(doc)
        target = doc.get("$ref")
        if target:
            base = self.ref(target)
            for name in Schema.__slots__:
                setattr(node, name, getattr(base, name))
            node.doc = doc
        self._shape(node, doc)
        self._extensions(node, doc)
        children = [*node.properties.values(), node.items, node.additional]
        node.has_rules = bool(node.rules) or any(child.has_rules for child in children if child)
        node.has_defaults = node.default is not UNSET or any(
            child.has_defaults for child in children if child
        )
        return node

    def _shape(self, node: Schema, doc: Mapping[str, Any]) -> None:
        node.type = doc.get("type", node.type)
        node.format = doc.get("format", node.format)
        if "properties" in doc:
            node.properties = {name: self.parse(child) for name, child in doc["properties"].items()}
        additional = doc.get("additionalProperties")
        if additional is True:
            node.additional = ANY
        elif isinstance(additional, Mapping):
            node.additional = self.parse(additional)
        if "items" in doc:
            node.items = self.parse(doc["items"])
        node.required = tuple(doc.get("required", node.required))
        node.all_of = [self.parse(child) for child in doc.get("allOf", [])]
        node.any_of = [self.parse(child) for child in doc.get("anyOf", [])]
        node.one_of = [self.parse(child) for child in doc.get("oneOf", [])]
        node.negated = self.parse(doc["not"]) if "not" in doc else None
        limits = {name: doc[name] for name in LIMITS if name in doc}
        node.limits = {**node.limits, **limits}

    def _extensions(self, node: Schema, doc: Mapping[str, Any]) -> None:
        node.default = doc.get("default", node.default)
        node.nullable = doc.get("nullable", node.nullable)
        node.preserve = doc.get("x-kubernetes-preserve-unknown-fields", node.preserve)
        node.embedded = doc.get("x-kubernetes-embedded-resource", node.embedded)
        node.int_or_string = doc.get("x-kubernetes-int-or-string", node.int_or_string)
        node.list_type = doc.get("x-kubernetes-list-type", node.list_type)
        node.list_keys = tuple(doc.get("x-kubernetes-list-map-keys", node.list_keys))
        node.atomic = doc.get("x-kubernetes-map-type", "atomic" if node.atomic else "granular") == "atomic"
        node.merge_key = doc.get("x-kubernetes-patch-merge-key", node.merge_key)
        strategy = doc.get("x-kubernetes-patch-strategy")
        node.patch_strategies = frozenset(strategy.split(",")) if strategy else node.patch_strategies
        node.zero = doc.get("x-lab-zero", node.zero)
        node.omit_zero = doc.get("x-lab-omit-zero", node.omit_zero)
        node.rules = list(doc.get("x-kubernetes-validations", node.rules))


def clone(value: JSON) -> JSON:
    """A deep copy of a JSON value."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value
