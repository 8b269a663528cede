"""What the server itself sets and keeps when it creates or updates an object, kind by kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from lab.apiserver.changes.fields import FieldSet
from lab.apiserver.kinds.crds import CLEANUP, established
from lab.apiserver.kinds.resources import Resource
from lab.apiserver.types.decode import decode, fill_defaults
from lab.apiserver.types.schema import Object

NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
STATUS: FieldSet = frozenset({("f:status",)})
NO_STATUS: FieldSet = frozenset({("f:metadata",), ("f:spec",)})
NO_STATUS_BUILTIN: FieldSet = frozenset(
    {("f:spec",), ("f:metadata", "f:labels"), ("f:metadata", "f:ownerReferences")}
)


def ignored_fields(resource: Resource, subresource: str) -> FieldSet:
    """What a write through this endpoint cannot change, so that nobody gets to own it there."""
    if subresource == "status":
        return NO_STATUS if resource.custom else NO_STATUS_BUILTIN
    return STATUS if resource.has_status else frozenset()


def empty(resource: Resource) -> Object:
    """What an object of this kind is before anything is set."""
    if resource.custom:
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
    document = decode(resource.schema, {}, "", [])
    return {**document, "apiVersion": resource.api_version, "kind": resource.kind}


def prepare_create(resource: Resource, document: Object, stored: Callable[[str], Iterable[Object]]) -> None:
    """Sets what clients cannot set at creation, in place. `stored` lists the objects of a table."""
    if resource.custom:
        if resource.has_status:
            document.pop("status", None)
            fill_defaults(resource.schema, document)
    elif resource.has_status and resource.kind not in ("Node", "CustomResourceDefinition"):
        document["status"] = decode(resource.schema.properties["status"], {}, "", [])
    if resource.custom or resource.counts_generations:
        document["metadata"]["generation"] = 1
    else:
        document["metadata"].pop("generation", None)
    if not resource.custom and resource.kind in PREPARE:
        PREPARE[resource.kind](document, stored)


def prepare_update(resource: Resource, new: Object, old: Object, subresource: str) -> Object:
    """The object that an update through this endpoint amounts to, with its generation."""
    if subresource == "status":
        new = _status_only(resource, new, old)
    elif resource.has_status and subresource != "binding":
        new = _with_status_of(new, old)
    if resource.kind == "CustomResourceDefinition" and not resource.custom:
        new["status"] = established(new, old["metadata"]["creationTimestamp"])
    if (resource.custom or resource.counts_generations) and _counts(resource, new, old):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
    return new


def _status_only(resource: Resource, new: Object, old: Object) -> Object:
    if resource.custom:
        kept = {**old, "metadata": {**old["metadata"]}}
        kept.pop("status", None)
    else:
        kept = {**old, "metadata": {**new["metadata"]}}
        for key in ("labels", "ownerReferences"):
            kept["metadata"].pop(key, None)
            if key in old["metadata"]:
                kept["metadata"][key] = old["metadata"][key]
    if "status" in new:
        kept["status"] = new["status"]
    if "managedFields" in new["metadata"]:
        kept["metadata"]["managedFields"] = new["metadata"]["managedFields"]
    return kept


def _with_status_of(new: Object, old: Object) -> Object:
    out = {key: value for key, value in new.items() if key != "status"}
    if "status" in old:
        out["status"] = old["status"]
    return out


def _counts(resource: Resource, new: Object, old: Object) -> bool:
    unseen = {"metadata", "status"} if resource.has_status else {"metadata"}
    notes = [document["metadata"].get("annotations") or {} for document in (new, old)]
    if resource.kind == "Deployment" and not resource.custom and notes[0] != notes[1]:
        return True
    keys = (new.keys() | old.keys()) - unseen - {"apiVersion", "kind"}
    return any(new.get(key) != old.get(key) for key in keys)


def _namespace(document: Object, stored: Callable[[str], Iterable[Object]]) -> None:
    document["spec"]["finalizers"] = ["kubernetes"]
    document["status"] = {"phase": "Active"}
    labels = document["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = document["metadata"]["name"]


def _pod(document: Object, stored: Callable[[str], Iterable[Object]]) -> None:
    spec = document["spec"]
    document["status"] = {"phase": "Pending", "qosClass": _quality(spec)}
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for key in NOT_READY:
        if not any(
            item.get("key") in (key, None) and item.get("effect") in ("NoExecute", None)
            for item in tolerations
        ):
            tolerations.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )


def _quality(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by the cpu and memory that the containers ask for."""
    resources = [container.get("resources") or {} for container in spec.get("containers") or []]
    asked = [
        (kind, name)
        for item in resources
        for kind in ("requests", "limits")
        for name in item.get(kind) or {}
        if name in ("cpu", "memory")
    ]
    if not asked:
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= (item.get("limits") or {}).keys()
        and all((item.get("requests") or {}).get(n) == item["limits"][n] for n in ("cpu", "memory"))
        for item in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _service(document: Object, stored: Callable[[str], Iterable[Object]]) -> None:
    spec = document["spec"]
    if spec["type"] == "ExternalName":
        return
    others = [item["spec"] for item in stored("services")]
    if not spec.get("clusterIP"):
        taken = {item.get("clusterIP") for item in others}
        addresses = (f"10.96.{i // 254}.{i % 254 + 1}" for i in itertools.count())
        spec["clusterIP"] = next(address for address in addresses if address not in taken)
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _node_ports(spec, others)


def _node_ports(spec: Object, others: list[Object]) -> None:
    taken = {port.get("nodePort") for item in others for port in item.get("ports") or []}
    free = (port for port in range(30000, 32768) if port not in taken)
    for port in spec.get("ports") or []:
        if not port.get("nodePort"):
            port["nodePort"] = next(free)


def _definition(document: Object, stored: Callable[[str], Iterable[Object]]) -> None:
    finalizers = document["metadata"].setdefault("finalizers", [])
    if CLEANUP not in finalizers:
        finalizers.append(CLEANUP)
    document["status"] = established(document, document["metadata"]["creationTimestamp"])


def _node(document: Object, stored: Callable[[str], Iterable[Object]]) -> None:
    """A node takes pods only after a controller has seen it ready."""
    taints = document["spec"].setdefault("taints", [])
    if not any(taint.get("key") == NOT_READY[0] for taint in taints):
        taints.append({"key": NOT_READY[0], "effect": "NoSchedule"})


PREPARE: dict[str, Callable[[Object, Callable[[str], Iterable[Object]]], Any]] = {
    "Namespace": _namespace,
    "Node": _node,
    "Pod": _pod,
    "Service": _service,
    "CustomResourceDefinition": _definition,
}
