"""What makes a pod invalid, or the template of one."""

from __future__ import annotations

from collections.abc import Iterator

from lab.apiserver.errors import FieldError, duplicate, forbidden_field, invalid_value, required
from lab.apiserver.registry.metadata import name_errors
from lab.apiserver.types.quantity import amount
from lab.apiserver.types.schema import Object

SETTLED = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
"""Fields of a pod's spec that may change, or may within limits that are not checked here."""


def pod_errors(new: Object) -> Iterator[FieldError]:
    yield from pod_spec_errors(new["spec"], "spec")


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
    yield from _resource_errors(container.get("resources") or {}, f"{path}.resources")


def _resource_errors(resources: Object, path: str) -> Iterator[FieldError]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            yield from amount_errors(name, value, f"{path}.{kind}[{name}]")
    for name, value in requests.items():
        if name not in limits:
            if _is_indivisible(name):
                yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif _is_indivisible(name) and amount(value) != amount(limits[name]):
            text = f"must be equal to {name} limit of {limits[name]}"
            yield invalid_value(f"{path}.requests", value, text)
        elif amount(value) > amount(limits[name]):
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid_value(f"{path}.requests", value, text)


def _is_indivisible(resource: str) -> bool:
    """Devices (`nvidia.com/gpu`) and huge pages are given out whole, and to one pod each."""
    return is_device(resource) or resource.startswith("hugepages-")


def is_device(resource: str) -> bool:
    return "/" in resource and "kubernetes.io/" not in resource


def amount_errors(resource: str, value: str, path: str) -> Iterator[FieldError]:
    number = amount(value)
    if number < 0:
        yield invalid_value(path, value, "must be greater than or equal to 0")
    if is_device(resource) and number != int(number):
        yield invalid_value(path, value, "must be an integer")


def settled_errors(new: Object, old: Object) -> Iterator[FieldError]:
    """What of a pod an update changes though it may not."""

    def settled(document: Object) -> Object:
        spec = {key: value for key, value in document["spec"].items() if key not in SETTLED}
        for group in ("containers", "initContainers"):
            if spec.get(group):
                spec[group] = [{**container, "image": "", "resources": {}} for container in spec[group]]
        return spec

    before = settled(old)
    grace = "terminationGracePeriodSeconds"
    if old["spec"].get(grace, 0) < 0 and new["spec"].get(grace) == 1:
        before[grace] = 1
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
