"""Backend references: what they resolve to, and whether a pool itself is in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lab.gateway.losses import losses
from lab.gateway.model import (
    POOL_GROUP,
    Conditions,
    Resolution,
    Target,
    World,
    pool_cluster,
    service_cluster,
)
from lab.kube.conditions import condition
from lab.kube.objects import Obj


def references(route: Obj) -> Iterator[Obj]:
    """Every reference of a route to a backend, mirrors included."""
    for rule in route["spec"].get("rules") or []:
        yield from rule.get("backendRefs") or []
        yield from (
            each["requestMirror"]["backendRef"] for each in rule.get("filters") or [] if is_mirror(each)
        )


def is_mirror(route_filter: Obj) -> bool:
    """Whether a filter is a RequestMirror."""
    mirror: bool = route_filter["type"] == "RequestMirror"
    return mirror


def is_pool(reference: Obj) -> bool:
    """Whether a reference names an InferencePool."""
    return (reference.get("group", ""), reference.get("kind", "Service")) == (POOL_GROUP, "InferencePool")


def resolve(world: World, route: Obj, reference: Obj) -> Resolution:
    """The target of a backendRef, or why there is none."""
    group, kind = reference.get("group", ""), reference.get("kind", "Service")
    namespace = route["metadata"]["namespace"]
    name = reference["name"]
    if not is_pool(reference) and (group, kind) != ("", "Service"):
        return Resolution(None, "InvalidKind", f"{kind} of group {group!r} cannot be a backend")
    if reference.get("namespace", namespace) != namespace:
        where = f"{kind} {reference['namespace']}/{name}"
        return Resolution(None, "RefNotPermitted", f"{where} is in another namespace; no grant permits it")
    if is_pool(reference):
        return _resolve_pool(world, namespace, name)
    return _resolve_service(world, namespace, name, reference.get("port"))


def _resolve_pool(world: World, namespace: str, name: str) -> Resolution:
    pool = world.pools.get((namespace, name))
    if pool is None:
        return Resolution(None, "BackendNotFound", f'InferencePool "{name}" not found')
    accepted, resolved = pool_conditions(world, pool)
    if "False" in (accepted["status"], resolved["status"]):
        return Resolution(None)
    spec = pool["spec"]
    picker = spec["endpointPickerRef"]
    target = Target(
        name=pool_cluster(namespace, name),
        namespace=namespace,
        labels=tuple(sorted(spec["selector"]["matchLabels"].items())),
        ports=tuple(port["number"] for port in spec["targetPorts"]),
        http2=spec.get("appProtocol") == "kubernetes.io/h2c",
        picker=_picker(world, namespace, picker) if world.pickers else None,
        fail_open=picker.get("failureMode") == "FailOpen",
        lost=losses(world).get(name, 0),
    )
    return Resolution(target)


def _picker(world: World, namespace: str, picker: Obj) -> Target | None:
    target = _resolve_service(world, namespace, picker["name"], picker["port"]["number"]).target
    return replace(target, http2=True) if target else None


def _resolve_service(world: World, namespace: str, name: str, port: int | None) -> Resolution:
    service = world.services.get((namespace, name))
    if service is None:
        return Resolution(None, "BackendNotFound", f'Service "{name}" not found')
    entry = next((each for each in service["spec"].get("ports") or [] if each["port"] == port), None)
    if port is None or entry is None:
        return Resolution(None, "BackendNotFound", f'Service "{name}" has no port {port}')
    target = Target(
        name=service_cluster(namespace, name, port),
        namespace=namespace,
        labels=tuple(sorted((service["spec"].get("selector") or {}).items())),
        ports=(entry.get("targetPort") or port,),
        http2=entry.get("appProtocol") == "kubernetes.io/h2c",
    )
    return Resolution(target)


def pool_conditions(world: World, pool: Obj) -> Conditions:
    """`Accepted` and `ResolvedRefs` of a pool that an accepted route refers to."""
    generation = pool["metadata"]["generation"]
    picker = pool["spec"].get("endpointPickerRef")
    if picker is None:
        message = "spec.endpointPickerRef is required by this gateway"
        accepted = condition("Accepted", False, "EndpointPickerRefMissing", message, generation)
    else:
        message = "InferencePool has been accepted"
        accepted = condition("Accepted", True, "Accepted", message, generation)
    trouble = _picker_trouble(world, pool, picker) if picker else ""
    if trouble:
        return [accepted, condition("ResolvedRefs", False, "InvalidExtensionRef", trouble, generation)]
    message = "All references are resolved"
    return [accepted, condition("ResolvedRefs", True, "ResolvedRefs", message, generation)]


def _picker_trouble(world: World, pool: Obj, picker: Obj) -> str:
    """Why a pool's endpoint picker cannot be used; empty if it can."""
    kind, name = picker.get("kind", "Service"), picker["name"]
    if (picker.get("group", ""), kind) != ("", "Service"):
        return f"endpoint picker of kind {kind} is not supported"
    service = world.services.get((pool["metadata"]["namespace"], name))
    if service is None:
        return f'endpoint picker Service "{name}" not found'
    port = (picker.get("port") or {}).get("number")
    if port not in [each["port"] for each in service["spec"].get("ports") or []]:
        return f'endpoint picker Service "{name}" has no port {port}'
    return ""
