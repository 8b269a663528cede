"""What makes an object of a built-in kind invalid, beside its metadata."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lab.apiserver.errors import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported
from lab.apiserver.kinds.crds import definition_errors
from lab.apiserver.registry import event_rules, pod_rules, workload_rules
from lab.apiserver.registry.metadata import finalizer_errors, name_errors, qualified_name_errors
from lab.apiserver.registry.pod_rules import amount_errors
from lab.apiserver.types.schema import Object, Schema

DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
DATA_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
MOST_DATA_BYTES = 2**20
LEASE_STRATEGY = "OldestEmulationVersion"
ANY_FINALIZER = ("CustomResourceDefinition", "Lease")
"""Kinds whose finalizers need not name their domain."""
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def object_errors(kind: str, schema: Schema, new: Object, old: Object | None) -> list[FieldError]:
    """The errors of an object that is created (`old` is None) or updated. `kind` is as in the tables below:
    a kind that two groups serve is named with its group, too."""
    errors = list(limit_errors(schema, new, ""))
    if kind in CHECKS:
        errors += CHECKS[kind](new)
    if old is None and kind not in ANY_FINALIZER:
        errors += finalizer_errors(new["metadata"])
    if old is None and kind in CREATION_CHECKS:
        errors += CREATION_CHECKS[kind](new)
    if old is not None and kind in UPDATE_CHECKS:
        errors += UPDATE_CHECKS[kind](new, old)
    return errors


def limit_errors(schema: Schema, value: Any, path: str) -> Iterator[FieldError]:
    """Required fields, allowed values and ranges, as types.yaml states them."""
    if isinstance(value, list) and schema.items is not None:
        for i, item in enumerate(value):
            yield from limit_errors(schema.items, item, f"{path}[{i}]")
    elif isinstance(value, dict) and not schema.is_map:
        for name in schema.required:
            if value.get(name) in (None, "", []):
                yield required(f"{path}.{name}" if path else name)
        for key, item in value.items():
            child = schema.properties.get(key)
            if child is not None and key != "metadata":
                yield from limit_errors(child, item, f"{path}.{key}" if path else key)
    elif schema.limits and value not in (None, ""):
        yield from _scalar_errors(schema.limits, value, path)


def _scalar_errors(limits: Object, value: Any, path: str) -> Iterator[FieldError]:
    low, high = limits.get("minimum"), limits.get("maximum")
    if "enum" in limits and value not in limits["enum"]:
        yield unsupported(path, value, limits["enum"])
    if low is not None and high is not None and not low <= value <= high:
        yield invalid_value(path, value, f"must be between {low} and {high}, inclusive")
    elif low is not None and value < low:
        text = "must be greater than or equal to 0" if low == 0 else f"must be greater than {low - 1}"
        yield invalid_value(path, value, text)


def _service(new: Object) -> Iterator[FieldError]:
    spec = new["spec"]
    ports = spec.get("ports") or []
    if not ports and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    names = [port.get("name", "") for port in ports]
    for i, name in enumerate(names):
        if len(ports) > 1 and not name:
            yield required(f"spec.ports[{i}].name")
        elif name and name in names[:i]:
            yield duplicate(f"spec.ports[{i}].name", name)
        elif name:
            yield from name_errors("label", name, f"spec.ports[{i}].name")


def _data(new: Object) -> Iterator[FieldError]:
    for field in ("data", "binaryData"):
        for key in new.get(field) or {}:
            if not DATA_KEY.fullmatch(key) or key in (".", "..") or len(key) > 253:
                yield invalid_value(f"{field}[{key}]", key, DATA_KEY_RULE)
    both = (new.get("data") or {}).keys() & (new.get("binaryData") or {}).keys()
    for key in sorted(both):
        yield invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData")


def _config_map(new: Object) -> Iterator[FieldError]:
    yield from _data(new)
    texts = sum(len(value.encode()) for value in (new.get("data") or {}).values())
    yield from _size_errors(texts + _decoded_bytes(new.get("binaryData")), "")


def _secret(new: Object) -> Iterator[FieldError]:
    yield from _data(new)
    yield from _size_errors(_decoded_bytes(new.get("data")), "data")


def _decoded_bytes(values: dict[str, str] | None) -> int:
    return sum(len(base64.b64decode(value)) for value in (values or {}).values())


def _size_errors(size: int, path: str) -> Iterator[FieldError]:
    if size > MOST_DATA_BYTES:
        yield FieldError("FieldValueTooLong", path, f"may not be more than {MOST_DATA_BYTES} bytes")


def _lease(new: Object) -> Iterator[FieldError]:
    strategy, path = new["spec"].get("strategy"), "spec.strategy.strategy"
    if strategy and "/" in strategy:
        yield from qualified_name_errors(strategy, path)
    elif strategy is not None and strategy != LEASE_STRATEGY:
        yield unsupported(path, strategy, [LEASE_STRATEGY])
    if new["spec"].get("preferredHolder") and not strategy:
        yield forbidden_field("spec.preferredHolder", "may only be specified if `strategy` is defined")


def _node(new: Object) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(new["spec"].get("taints") or []):
        path, effect = f"metadata.taints[{i}]", taint.get("effect", "")
        yield from qualified_name_errors(taint.get("key", ""), f"{path}.key")
        if not effect:
            yield required(f"{path}.effect")
        elif effect not in TAINT_EFFECTS:
            yield unsupported(f"{path}.effect", effect, TAINT_EFFECTS)
        if (taint.get("key", ""), effect) in seen:
            text = "taints must be unique by key and effect pair"
            yield FieldError("FieldValueDuplicate", path, text, taint)
        seen.add((taint.get("key", ""), effect))


def _node_update(new: Object, old: Object) -> Iterator[FieldError]:
    """An update is checked as a new node is, once more, and so is what the node has to give."""
    yield from _node(new)
    for kind in ("capacity", "allocatable"):
        for name, value in (new["status"].get(kind) or {}).items():
            yield from amount_errors(name, value, f"status.{kind}.{name}")


def _role(new: Object) -> Iterator[FieldError]:
    for i, rule in enumerate(new.get("rules") or []):
        path = f"rules[{i}]"
        if rule.get("nonResourceURLs"):
            if new["kind"] == "Role":
                text = "namespaced rules cannot apply to non-resource URLs"
                yield invalid_value(f"{path}.nonResourceURLs", rule["nonResourceURLs"], text)
            continue
        if not rule.get("apiGroups"):
            yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield required(f"{path}.resources", "resource rules must supply at least one resource")


def _binding(new: Object) -> Iterator[FieldError]:
    reference = new.get("roleRef") or {}
    allowed = ["ClusterRole"] if new["kind"] == "ClusterRoleBinding" else ["Role", "ClusterRole"]
    if reference.get("kind") and reference["kind"] not in allowed:
        yield unsupported("roleRef.kind", reference["kind"], allowed)
    for i, subject in enumerate(new.get("subjects") or []):
        if subject.get("kind") == "ServiceAccount" and not subject.get("namespace"):
            yield required(f"subjects[{i}].namespace")


def _fixed(*path: str) -> Callable[[Object, Object], Iterator[FieldError]]:
    """The field at this path may not change."""

    def check(new: Object, old: Object) -> Iterator[FieldError]:
        after, before = _at(new, path), _at(old, path)
        if before != after:
            yield invalid_value(".".join(path), after, "field is immutable")

    return check


def _fixed_role(new: Object, old: Object) -> Iterator[FieldError]:
    if new.get("roleRef") != old.get("roleRef"):
        yield invalid_value("roleRef", new.get("roleRef"), "cannot change roleRef")


def _fixed_data(new: Object, old: Object) -> Iterator[FieldError]:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden_field("immutable", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if new.get(field) != old.get(field):
            yield forbidden_field(field, "field is immutable when `immutable` is set")


def _fixed_secret(new: Object, old: Object) -> Iterator[FieldError]:
    yield from _fixed("type")(new, old)
    yield from _fixed_data(new, old)


def _fixed_address(new: Object, old: Object) -> Iterator[FieldError]:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and before != after and new["spec"].get("type") != "ExternalName":
        yield invalid_value("spec.clusterIPs[0]", [after], "may not change once set")


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        document = (document or {}).get(part)
    return document


CHECKS: dict[str, Callable[[Object], Iterable[FieldError]]] = {
    "Pod": pod_rules.pod_errors,
    "Deployment": workload_rules.deployment_errors,
    "ReplicaSet": workload_rules.workload_errors,
    "Service": _service,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "Lease": _lease,
    "Node": _node,
    "Role": _role,
    "ClusterRole": _role,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "PodDisruptionBudget": workload_rules.budget_errors,
    "Event": event_rules.event_errors,
    "Event.events.k8s.io": event_rules.event_errors,
    "CustomResourceDefinition": definition_errors,
}
CREATION_CHECKS: dict[str, Callable[[Object], Iterator[FieldError]]] = {
    "Event.events.k8s.io": event_rules.creation_errors,
}
UPDATE_CHECKS: dict[str, Callable[[Object, Object], Iterator[FieldError]]] = {
    "Pod": pod_rules.settled_errors,
    "Node": _node_update,
    "Deployment": _fixed("spec", "selector"),
    "ReplicaSet": _fixed("spec", "selector"),
    "RoleBinding": _fixed_role,
    "ClusterRoleBinding": _fixed_role,
    "ConfigMap": _fixed_data,
    "Secret": _fixed_secret,
    "Service": _fixed_address,
    "EndpointSlice": _fixed("addressType"),
    "Event.events.k8s.io": event_rules.update_errors,
}
