"""Which routes a gateway accepts, on which of its listeners, for which host names."""

from __future__ import annotations

from collections.abc import Iterable

from lab.gateway.model import GATEWAY_GROUP, Attachment, World
from lab.kube.objects import Obj


def attachments(world: World) -> list[Attachment]:
    """Every parentRef that names one of the world's gateways, in order of routes and refs."""
    return [
        _attach(route, parent, gateway)
        for _, route in sorted(world.routes.items())
        for parent in route["spec"].get("parentRefs") or []
        if (gateway := _gateway_of(world, route, parent))
    ]


def _gateway_of(world: World, route: Obj, parent: Obj) -> Obj | None:
    if (parent.get("group", GATEWAY_GROUP), parent.get("kind", "Gateway")) != (GATEWAY_GROUP, "Gateway"):
        return None
    namespace = parent.get("namespace", route["metadata"]["namespace"])
    return world.gateways.get((namespace, parent["name"]))


def _attach(route: Obj, parent: Obj, gateway: Obj) -> Attachment:
    def refused(reason: str, message: str) -> Attachment:
        return Attachment(route, parent, gateway, [], reason, message)

    named = [each for each in gateway["spec"]["listeners"] if _is_named(each, parent)]
    if not named:
        return refused("NoMatchingParent", "No listener of the gateway has this name and port")
    allowed = [each for each in named if _allows(each, route, gateway)]
    if not allowed:
        return refused("NotAllowedByListeners", "No listener allows routes of this kind and namespace")
    usable = [each for each in allowed if listener_trouble(each) is None]
    hosted = [each for each in usable if hostnames(each, route)]
    if usable and not hosted:
        return refused("NoMatchingListenerHostname", "No hostname is shared with a listener")
    if not usable:
        return refused("NoReadyListeners", "No listener of the gateway is programmed")
    return Attachment(route, parent, gateway, hosted)


def _is_named(listener: Obj, parent: Obj) -> bool:
    by_name = parent.get("sectionName") in (None, "", listener["name"])
    return by_name and parent.get("port") in (None, listener["port"])


def _allows(listener: Obj, route: Obj, gateway: Obj) -> bool:
    allowed = listener.get("allowedRoutes") or {}
    kinds = allowed.get("kinds") or []
    if kinds and not any(
        each["kind"] == "HTTPRoute" and each.get("group", GATEWAY_GROUP) == GATEWAY_GROUP for each in kinds
    ):
        return False
    wanted = (allowed.get("namespaces") or {}).get("from", "Same")
    same: bool = route["metadata"]["namespace"] == gateway["metadata"]["namespace"]
    return wanted == "All" or (wanted == "Same" and same)


def listener_trouble(listener: Obj) -> tuple[str, str] | None:
    """Reason and message why this gateway cannot serve a listener; None if it can."""
    if listener["protocol"] != "HTTP":
        return "UnsupportedProtocol", f"Protocol {listener['protocol']} is not supported, only HTTP"
    return None


def hostnames(listener: Obj, route: Obj) -> list[str]:
    """The host names for which `listener` serves `route`; `*` is any."""
    ours = listener.get("hostname")
    theirs = route["spec"].get("hostnames") or []
    if not ours:
        return theirs or ["*"]
    if not theirs:
        return [ours]
    return _unique(shared for each in theirs if (shared := _intersection(ours, each)))


def _intersection(one: str, other: str) -> str | None:
    if one == other or _covers(one, other):
        return other
    return one if _covers(other, one) else None


def _covers(wildcard: str, name: str) -> bool:
    return wildcard.startswith("*.") and name.removeprefix("*.").endswith(wildcard[1:])


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
