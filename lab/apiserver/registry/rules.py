"""What makes an object of a built-in kind invalid, beside its metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lab.apiserver.errors import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported
from lab.apiserver.kinds.crds import definition_errors
from lab.apiserver.registry.metadata import label_errors, name_errors
from lab.apiserver.storage.selectors import matches_label_selector
from lab.apiserver.types.schema import Object, Schema

DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
DATA_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
    "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
SETTLED_POD_FIELDS = (
    "activeDeadlineSeconds",
    "terminationGracePeriodSeconds",
    "tolerations",
    "schedulingGates",
)


def object_errors(kind: str, schema: Schema, new: Object, old: Object | None) -> list[FieldError]:
    """The errors of an object that is created (`old` is None) or updated."""
    errors = list(limit_errors(schema, new, ""))
    if kind in CHECKS:
        errors += CHECKS[kind](new)
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


def pod_spec_errors(spec: Object, path: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or []):
            yield from _container_errors(container, f"{path}.{group}[{i}]")
            if container.get("name") in names:
                yield duplicate(f"{path}.{group}[{i}].name", container["name"])
            names.add(container.get("name", ""))
    volumes = [volume.get("name", "") for volume in spec.get("volumes") or []]
    for i, name in enumerate(volumes):
        if name in volumes[:i]:
            yield duplicate(f"{path}.volumes[{i}].name", name)
    for group in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(group) or []):
            for j, mount in enumerate(container.get("volumeMounts") or []):
                if mount.get("name") not in volumes:
                    place = f"{path}.{group}[{i}].volumeMounts[{j}].name"
                    yield FieldError("FieldValueNotFound", place, "", mount.get("name"))


def _container_errors(container: Object, path: str) -> Iterator[FieldError]:
    if container.get("name"):
        yield from name_errors("label", container["name"], f"{path}.name")
    if not container.get("image"):
        yield required(f"{path}.image")
    for i, variable in enumerate(container.get("env") or []):
        if variable.get("value") and variable.get("valueFrom"):
            text = "may not be specified when `value` is not empty"
            yield invalid_value(f"{path}.env[{i}].valueFrom", "", text)
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    for name, value in (resources.get("requests") or {}).items():
        if "/" in name and "kubernetes.io/" not in name and limits.get(name) != value:
            text = f"must be equal to {name} limit of {limits.get(name, '0')}"
            yield invalid_value(f"{path}.resources.requests", value, text)


def _pod(new: Object) -> Iterator[FieldError]:
    yield from pod_spec_errors(new["spec"], "spec")


def _workload(new: Object) -> Iterator[FieldError]:
    spec = new["spec"]
    labels = spec["template"]["metadata"].get("labels") or {}
    selector = spec.get("selector")
    if selector is not None and not selector:
        text = "empty selector is invalid for deployment"
        yield invalid_value("spec.selector", selector, text)
    elif selector is not None and not matches_label_selector(selector, labels):
        text = "`selector` does not match template `labels`"
        yield invalid_value("spec.template.metadata.labels", labels, text)
    yield from label_errors(labels, "spec.template.metadata.labels")
    template = spec["template"]["spec"]
    yield from pod_spec_errors(template, "spec.template.spec")
    if template.get("restartPolicy") in ("OnFailure", "Never"):
        yield unsupported("spec.template.spec.restartPolicy", template["restartPolicy"], ["Always"])


def _deployment(new: Object) -> Iterator[FieldError]:
    yield from _workload(new)
    spec = new["spec"]
    strategy = spec["strategy"]
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate"):
        text = "may not be specified when strategy `type` is 'Recreate'"
        yield forbidden_field("spec.strategy.rollingUpdate", text)
    if spec.get("progressDeadlineSeconds", 600) <= spec.get("minReadySeconds", 0):
        text = "must be greater than minReadySeconds"
        yield invalid_value("spec.progressDeadlineSeconds", spec["progressDeadlineSeconds"], text)
    update = strategy.get("rollingUpdate") or {}
    if update and all(update.get(key) in (0, "0%") for key in ("maxSurge", "maxUnavailable")):
        text = "may not be 0 when `maxSurge` is 0"
        yield invalid_value("spec.strategy.rollingUpdate.maxUnavailable", update["maxUnavailable"], text)


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


def _budget(new: Object) -> Iterator[FieldError]:
    spec = new["spec"]
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set")


def _event(new: Object) -> Iterator[FieldError]:
    field = "regarding" if "regarding" in new else "involvedObject"
    about = (new.get(field) or {}).get("namespace") or "default"
    if about != new["metadata"].get("namespace"):
        yield invalid_value(f"{field}.namespace", about, "does not match event.namespace")


def _settled_pod(new: Object, old: Object) -> Iterator[FieldError]:
    def settled(document: Object) -> Object:
        spec = {key: value for key, value in document["spec"].items() if key not in SETTLED_POD_FIELDS}
        for group in ("containers", "initContainers"):
            if spec.get(group):
                spec[group] = [{**container, "image": "", "resources": {}} for container in spec[group]]
        return spec

    before = settled(old)
    if not old["spec"].get("nodeName"):
        before["nodeName"] = new["spec"].get("nodeName")
    after = settled(new)
    if {k: v for k, v in before.items() if v} != {k: v for k, v in after.items() if v}:
        text = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
            "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
            "was previously negative)"
        )
        yield forbidden_field("spec", text)


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
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _workload,
    "Service": _service,
    "ConfigMap": _data,
    "Secret": _data,
    "Role": _role,
    "ClusterRole": _role,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
    "PodDisruptionBudget": _budget,
    "Event": _event,
    "CustomResourceDefinition": definition_errors,
}
UPDATE_CHECKS: dict[str, Callable[[Object, Object], Iterator[FieldError]]] = {
    "Pod": _settled_pod,
    "Deployment": _fixed("spec", "selector"),
    "ReplicaSet": _fixed("spec", "selector"),
    "RoleBinding": _fixed_role,
    "ClusterRoleBinding": _fixed_role,
    "ConfigMap": _fixed_data,
    "Secret": _fixed_secret,
    "Service": _fixed_address,
    "EndpointSlice": _fixed("addressType"),
}
