"""The statuses that tell what the gateway has made of the objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from lab.gateway.attachment import listener_trouble
from lab.gateway.backends import is_pool, pool_conditions, references, resolve
from lab.gateway.model import (
    CONTROLLER_NAME,
    GATEWAY_GROUP,
    Attachment,
    Conditions,
    Name,
    World,
)
from lab.kube.conditions import condition, settle
from lab.kube.objects import Obj, key_of

Parents = list[Obj]

# What this gateway can do, by the names of Gateway API's conformance tests, in order.
FEATURES = (
    "Gateway",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteMethodMatching",
    "HTTPRouteParentRefPort",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
)


def class_status(gateway_class: Obj, moment: datetime) -> Obj:
    """The status of a GatewayClass of ours, with transition times from the one before."""
    before, generation = gateway_class.get("status", {}), gateway_class["metadata"]["generation"]
    accepted = condition("Accepted", True, "Accepted", "GatewayClass is accepted", generation)
    return {
        **before,
        "conditions": settle(before.get("conditions"), [accepted], moment),
        "supportedFeatures": [{"name": name} for name in FEATURES],
    }


def route_parents(
    world: World, attached: Sequence[Attachment], refused: Mapping[Name, str]
) -> dict[Name, Parents]:
    """`status.parents` by route. `refused` has, by route, why its current generation is not in force."""
    parents: dict[Name, Parents] = {key: [] for key in world.routes}
    for attachment in attached:
        key = key_of(attachment.route)
        entry = {
            "parentRef": attachment.parent,
            "controllerName": CONTROLLER_NAME,
            "conditions": _route_conditions(world, attachment, refused.get(key)),
        }
        parents[key].append(entry)
    return parents


def _route_conditions(world: World, attachment: Attachment, refusal: str | None) -> Conditions:
    route = attachment.route
    generation = route["metadata"]["generation"]
    if refusal is not None:
        return [
            condition("Accepted", False, "UnsupportedValue", refusal, generation),
            _resolved_refs(world, route, generation),
            condition("Reconciled", False, "ReconciliationFailed", refusal, generation),
        ]
    return [
        condition("Accepted", attachment.accepted, attachment.reason, attachment.message, generation),
        _resolved_refs(world, route, generation),
        condition("Reconciled", True, "ReconciliationSucceeded", "", generation),
    ]


def _resolved_refs(world: World, route: Obj, generation: int) -> Obj:
    resolutions = [resolve(world, route, reference) for reference in references(route)]
    for reason in ("InvalidKind", "RefNotPermitted", "BackendNotFound"):
        for each in resolutions:
            if each.reason == reason:
                return condition("ResolvedRefs", False, reason, each.message, generation)
    message = "All object references are resolved"
    return condition("ResolvedRefs", True, "ResolvedRefs", message, generation)


def pool_parents(world: World, attached: Sequence[Attachment]) -> dict[Name, Parents]:
    """`status.parents` by pool: an entry for each gateway of which some route refers to the pool."""
    users: dict[Name, dict[Name, bool]] = {key: {} for key in world.pools}
    for attachment in attached:
        route, gateway = attachment.route, key_of(attachment.gateway)
        for reference in references(route):
            key = (reference.get("namespace", route["metadata"]["namespace"]), reference["name"])
            if is_pool(reference) and key in users:
                users[key][gateway] = users[key].get(gateway, False) or attachment.accepted
    return {
        key: [_pool_parent(world, key, gateway, accepted) for gateway, accepted in sorted(of_pool.items())]
        for key, of_pool in users.items()
    }


def _pool_parent(world: World, key: Name, gateway: Name, accepted: bool) -> Obj:
    pool = world.pools[key]
    conditions = pool_conditions(world, pool)
    if not accepted:
        generation = pool["metadata"]["generation"]
        message = "No HTTPRoute that refers to the pool is accepted by the gateway"
        conditions[0] = condition("Accepted", False, "HTTPRouteNotAccepted", message, generation)
    namespace, name = gateway
    return {
        "parentRef": {"group": GATEWAY_GROUP, "kind": "Gateway", "namespace": namespace, "name": name},
        "controllerName": CONTROLLER_NAME,
        "conditions": conditions,
    }


def gateway_status(
    gateway: Obj, attached: Sequence[Attachment], ports: Mapping[int, Name], address: str, trouble: str
) -> Obj:
    """The status of a gateway. `ports` has the owner of each port; `trouble`: why Envoy is not up to date."""
    generation = gateway["metadata"]["generation"]
    mine = [each for each in attached if each.accepted and key_of(each.gateway) == key_of(gateway)]
    listeners = [
        _listener_status(gateway, each, mine, _problem(gateway, each, ports), trouble)
        for each in gateway["spec"]["listeners"]
    ]
    bad = [each["name"] for each in gateway["spec"]["listeners"] if _problem(gateway, each, ports)]
    accepted = condition("Accepted", True, "Accepted", "Gateway is accepted", generation)
    programmed = condition("Programmed", True, "Programmed", "Gateway is programmed", generation)
    if bad:
        some, message = len(bad) < len(listeners), f"Listeners not valid: {', '.join(bad)}"
        accepted = condition("Accepted", some, "ListenersNotValid", message, generation)
        if not some:
            programmed = condition("Programmed", False, "Invalid", message, generation)
    elif trouble:
        programmed = condition("Programmed", False, "Pending", trouble, generation)
    return {
        "addresses": [{"type": "IPAddress", "value": address}],
        "conditions": [accepted, programmed],
        "listeners": listeners,
    }


def _problem(gateway: Obj, listener: Obj, ports: Mapping[int, Name]) -> tuple[str, str] | None:
    """Reason and message why a listener of a gateway is not served."""
    if trouble := listener_trouble(listener):
        return trouble
    if ports.get(listener["port"], key_of(gateway)) != key_of(gateway):
        return "PortUnavailable", f"Port {listener['port']} belongs to an older gateway"
    return None


def _listener_status(
    gateway: Obj,
    listener: Obj,
    attached: Sequence[Attachment],
    problem: tuple[str, str] | None,
    trouble: str,
) -> Obj:
    generation = gateway["metadata"]["generation"]
    if problem:
        accepted = condition("Accepted", False, *problem, generation)
        programmed = condition("Programmed", False, "Invalid", problem[1], generation)
    else:
        accepted = condition("Accepted", True, "Accepted", "Listener is accepted", generation)
        programmed = condition("Programmed", True, "Programmed", "Listener is programmed", generation)
        if trouble:
            programmed = condition("Programmed", False, "Pending", trouble, generation)
    resolved = condition("ResolvedRefs", True, "ResolvedRefs", "", generation)
    routes = {key_of(each.route) for each in attached if listener in each.listeners}
    return {
        "name": listener["name"],
        "supportedKinds": [] if problem else [{"group": GATEWAY_GROUP, "kind": "HTTPRoute"}],
        "attachedRoutes": len(routes),
        "conditions": [accepted, programmed, resolved],
    }


def merge_parents(before: Parents, ours: Parents, moment: datetime) -> Parents:
    """`ours` beside the entries of other controllers, with transition times from `before`."""
    others = [each for each in before if each.get("controllerName", CONTROLLER_NAME) != CONTROLLER_NAME]
    settled = []
    for entry in ours:
        old = next((each for each in before if _same_parent(each, entry)), Obj())
        conditions = settle(old.get("conditions"), entry["conditions"], moment)
        settled.append({**entry, "conditions": conditions})
    return [*others, *settled]


def _same_parent(one: Obj, other: Obj) -> bool:
    same: bool = one["parentRef"] == other["parentRef"]
    return same and one.get("controllerName") == other["controllerName"]


def settle_gateway(before: Obj, after: Obj, moment: datetime) -> Obj:
    """`after` with transition times from the status `before`, its listeners included."""
    listeners = []
    for new in after["listeners"]:
        old = next((each for each in before.get("listeners") or [] if each["name"] == new["name"]), Obj())
        listeners.append({**new, "conditions": settle(old.get("conditions"), new["conditions"], moment)})
    conditions = settle(before.get("conditions"), after["conditions"], moment)
    return {**after, "conditions": conditions, "listeners": listeners}
